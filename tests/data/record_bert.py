#!/usr/bin/env python3
"""Records what a BERT sentence encoder makes of some texts, by NumPy alone, in 64 bits.

It shares no code with the program: an own WordPiece tokenizer after Devlin et al. 2019, and the layers as the paper states them.

    TOYS=/tmp/bert cargo test --release -p stages the_toy_has_the_recorded
    python3 tests/data/record_bert.py /tmp/bert > tests/data/bert_toy.json
"""

import json
import math
import struct
import sys
import unicodedata

import numpy as np

TEXTS = [
    "Toy Story (1995)",
    "the war",
    "THE  WAR",
    "Misérables, Les: a musical!",
    "千と千尋 & the toying storyer",
    "x",
    "a text that is much longer than the limit of twenty four pieces",
]


def tensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    read = {}
    for name, about in header.items():
        if about["dtype"] == "F32":
            start, end = about["data_offsets"]
            read[name] = np.frombuffer(data[start:end], "<f4").reshape(about["shape"]).astype(np.float64)
    return read


def words(text):
    """Lower case, accents removed, punctuation and Chinese characters by themselves."""
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    spaced = ""
    for c in text:
        alone = unicodedata.category(c).startswith("P") or (c.isascii() and not c.isalnum() and not c.isspace())
        alone = alone or 0x4E00 <= ord(c) <= 0x9FFF
        spaced += f" {c} " if alone else c
    return spaced.split()


def pieces(word, vocabulary):
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return [vocabulary["[UNK]"]]
    return found


def norm(x, gain, bias, epsilon):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gain + bias


def vector(ids, t, config):
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
    gelu = np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def normed(x, name):
        return norm(x, t[f"{name}.LayerNorm.weight"], t[f"{name}.LayerNorm.bias"], epsilon)

    x = t["embeddings.word_embeddings.weight"][ids]
    x = x + t["embeddings.position_embeddings.weight"][: len(ids)] + t["embeddings.token_type_embeddings.weight"][0]
    x = normed(x, "embeddings")
    for layer in range(config["num_hidden_layers"]):
        part = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{part}.attention.self.{name}") for name in ("query", "key", "value"))
        split = [np.split(y, heads, axis=1) for y in (q, k, v)]
        attended = []
        for q, k, v in zip(*split):
            scores = q @ k.T / math.sqrt(q.shape[1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            attended.append(shares / shares.sum(-1, keepdims=True) @ v)
        attended = linear(np.concatenate(attended, axis=1), f"{part}.attention.output.dense")
        x = normed(x + attended, f"{part}.attention.output")
        inner = gelu(linear(x, f"{part}.intermediate.dense"))
        x = normed(x + linear(inner, f"{part}.output.dense"), f"{part}.output")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    folder = sys.argv[1]
    read = lambda name: json.load(open(f"{folder}/{name}"))
    config, tokenizer = read("config.json"), read("tokenizer.json")
    limit = read("sentence_bert_config.json")["max_seq_length"]
    vocabulary = tokenizer["model"]["vocab"]
    t = tensors(f"{folder}/model.safetensors")
    rows = []
    for text in sys.argv[2:] or TEXTS:
        ids = [id for word in words(text) for id in pieces(word, vocabulary)][: limit - 2]
        ids = [vocabulary["[CLS]"], *ids, vocabulary["[SEP]"]]
        rows.append({"text": text, "ids": ids, "vector": [round(float(x), 7) for x in vector(ids, t, config)]})
    print("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")


if __name__ == "__main__":
    main()
