"""What every test shares: two fake CPU devices, set before JAX starts."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
