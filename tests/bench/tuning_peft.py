#!/usr/bin/env python3
"""The steps of `tuning.rs` in transformers and peft, on the same weights, which they hold as f32; see README.md.

    python tuning_peft.py MODEL.gguf [THREADS [ROUNDS]]     # transformers, peft, torch and gguf from pip
"""

import json
import os
import statistics
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
path = sys.argv[1]
threads, rounds = (int(sys.argv[at]) if len(sys.argv) > at else absent for at, absent in [(2, 1), (3, 5)])

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

BATCH, READ, ANSWER, RANK, ALPHA, LEARNING_RATE = 8, 96, 8, 8, 16, 2e-4
torch.set_num_threads(threads)
folder, name = os.path.split(os.path.abspath(path))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=["q_proj", "v_proj"]))
model.train()
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
adam = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)


def step(number):
    ids = [[1000 + (7 * i * i + number * BATCH + index) % 5000 for i in range(READ + ANSWER)] for index in range(BATCH)]
    tokens = torch.tensor(ids)
    labels = tokens.clone()
    labels[:, :READ] = -100
    start = time.perf_counter()
    loss = model(input_ids=tokens, labels=labels).loss
    adam.zero_grad()
    loss.backward()
    adam.step()
    return time.perf_counter() - start, loss.item()


_, first_loss = step(0)
seconds = statistics.median(step(number)[0] for number in range(1, rounds + 1))
peak = next(float(line.split()[1]) / 1e3 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
measured = {"tokens_per_s": BATCH * (READ + ANSWER) / seconds, "peak_mb": peak, "first_loss": first_loss}
print(json.dumps({"program": "transformers+peft", "threads": threads, "what": "training step", "measured": measured}))
