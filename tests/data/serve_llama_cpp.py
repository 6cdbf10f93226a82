"""Serves a GGUF file over HTTP on this machine with llama.cpp's own server, until its standard input ends.

    pip install xllamacpp
    python tests/data/serve_llama_cpp.py SmolLM2-135M-Instruct.Q4_1.gguf chat          # or: embeddings

Prints the address, up to the path, as its first line.
"""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 4096
params.n_parallel = 2
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
if sys.argv[2] == "embeddings":
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
