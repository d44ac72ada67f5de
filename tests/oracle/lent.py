"""The phantom GPU, lent to this Python process: torch's "cuda" is one until the process ends.

PyTorch's Python modules ask the driver, which is not there; here they answer as the phantom would. What runs on tensors
then is PyTorch's own.
"""
import ctypes
import json
import os
import sys

import torch

LIBRARY = os.path.join(os.environ["ATHANOR_BUILD"], "tests", "liboracle_phantom.so")


def say_there_is_cuda(capability):
    cuda = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.is_initialized = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: 0 if device >= 0 else -1
    cuda.get_device_capability = lambda device=None: capability
    cuda.is_bf16_supported = lambda including_emulation=True: True
    cuda.synchronize = lambda device=None: None
    cuda.manual_seed_all = cuda.manual_seed = lambda seed: None


def leave():
    """Ends the process at once: autograd's thread for "cuda" must not ask for Python's lock while Python ends."""
    sys.stdout.flush()
    os._exit(0)


class Phantom:
    def __init__(self, gpu="A100 80GB", capability=(8, 0), version=(2, 15), limited=False, cudnn=""):
        # What speaks with a libcudnn is found on PATH: the program that runs is Python's.
        os.environ["PATH"] = os.environ["ATHANOR_BUILD"] + os.pathsep + os.environ["PATH"]
        # Its symbols must find libtorch's, which Python loads privately.
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
        self.library = ctypes.CDLL(LIBRARY)
        for function in (self.library.athanor_lend, self.library.athanor_report, self.library.athanor_events):
            function.restype = ctypes.c_char_p
        wrong = self.library.athanor_lend(gpu.encode(), limited, *version, cudnn.encode()).decode()
        if wrong:
            raise RuntimeError(wrong)
        say_there_is_cuda(capability)
        torch.cuda.empty_cache = self.library.athanor_empty_cache

    def begin(self):
        self.library.athanor_begin()

    def step(self, number):
        self.library.athanor_step(number)

    def report(self):
        return json.loads(self.library.athanor_report().decode())

    def events(self, step):
        return json.loads(self.library.athanor_events(step).decode())
