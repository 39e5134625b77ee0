"""What the server loads that forks a sweep's processes. Nothing else imports this module."""

import signal

# A signal to the whole group must not end the server: the parent decides when its workers stop.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

import torch  # noqa: E402

import search.worker.pool  # noqa: E402, F401 - with all that workers and the mirror need
from pruning.frontend.trace import trace  # noqa: E402

trace(torch.nn.ReLU(), torch.zeros(1, 1))  # torch loads half of itself when it first traces
