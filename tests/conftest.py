"""What every test shares: two fake CPU devices, and a Ctrl-C that is heard."""

import signal

import jax

jax.config.update("jax_num_cpu_devices", 2)  # before JAX starts

# A shell that runs the suite in the background has it ignore Ctrl-C, and its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
