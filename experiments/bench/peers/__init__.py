"""The rivals: what is installed for them, and which of their scripts needs what. No JAX here.

The scripts beside this file run in the rivals' environments and import nothing of ours.
"""

PINS: dict[str, tuple[str, ...]] = {
    "torch": ("torch==2.13.0", "numpy==2.4.6"),
    "jax": (
        "jax==0.10.2",
        "xminigrid==0.9.3",
        "gymnax==1.0.1",
        "six==1.17.0",  # gymnax imports it without saying so
        "navix==0.7.4",
    ),
}
"""Requirements of each environment; torch and JAX do not share one."""

HOME: dict[str, str] = {
    "torch_train": "torch",
    "torch_decode": "torch",
    "xland_steps": "jax",
    "navix_steps": "jax",
    "gymnax_steps": "jax",
    "cartpole_steps": "",
}
"""The environment of each script; Gymnasium is here anyway, so its runs in ours."""
