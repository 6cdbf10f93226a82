"""Records what llama.cpp says about a GGUF file, for the tests of `stages/src/llm/gguf`.

    pip install xllamacpp gguf
    python tests/data/record_llama_cpp.py SmolLM2-135M-Instruct.Q4_1.gguf > tests/data/llama_cpp_smollm2.json
    TOYS=/tmp cargo test --release --lib -- the_toys_agree    # writes them there
    python tests/data/record_llama_cpp.py /tmp/toy.gguf > tests/data/llama_cpp_toy.json    # and toy_qwen2, toy_sentence_piece
    python tests/data/record_llama_cpp.py /tmp/toy_llama_3.gguf --prompts 2 > tests/data/llama_cpp_toy_llama_3.json
    python tests/data/record_llama_cpp.py /tmp/toy_gpt_2.gguf --texts > tests/data/llama_cpp_toy_gpt_2.json
    python tests/data/record_llama_cpp.py SmolLM2-135M-Instruct.Q4_1.gguf --titles ml-100k.item > tests/data/llama_cpp_titles.json
    python tests/data/record_llama_cpp.py /tmp/mistral.gguf --titles ml-100k.item --texts > tests/data/llama_cpp_mistral_vocabulary.json
    python tests/data/record_llama_cpp.py qwen2.5-coder-1.5b-instruct-q4_k_m.gguf --prompts 1 > tests/data/llama_cpp_qwen.json

With `--texts` only token ids are recorded; with `--titles` those of the first 500 titles of RecBole's `ml-100k.item`, by row
and without the titles themselves. The vocabularies of `vocabulary_tests.rs` are recorded with both, from the toys that its tests
leave in `TOYS`, and Gemma's from its own file. `--prompts` takes only so many prompts: a large model takes minutes for each.

Each number is recorded twice. `as_is` is the file itself: for quantised weights llama.cpp then also rounds the
activations to 8 bits, which we do not, so our numbers differ a little. `f32` is the same file with its weights
expanded to f32, where llama.cpp computes what we compute and the numbers must be nearly equal. Log-probabilities are
natural logarithms. Replies are greedy, as token ids, and from the expanded file.
"""

import hashlib
import importlib.metadata
import json
import pathlib
import sys
import tempfile
import urllib.request

import gguf
import xllamacpp

TEXTS = [
    "Toy Story",
    "Toy Story (1995)",
    "2001: A Space Odyssey",
    "20,000 Leagues Under the Sea",
    "12 Angry Men",
    "Seven (Se7en)",
    "Mr. Holland's Opus",
    "What's Eating Gilbert Grape",
    "I'll Do Anything; we've, they're, you'd, I'm, don't, IT'S",
    "Mystery Science Theater 3000: The Movie",
    "Misérables, Les",
    "Double vie de Véronique, La (Double Life of Veronique, The)",
    "C'est arrivé près de chez vous",
    "Á köldum klaka (Cold Fever)",
    "JLG/JLG - autoportrait de décembre",
    "8 1/2",
    "½ ² Ⅳ ٣ 3²",
    "千と千尋の神隠し",
    "Бриллиантовая рука",
    "Cafe\u0301 au Lait 🎬🍿",
    "two  spaces   three    four\tand a tab",
    " leading and trailing ",
    "lines\n\nand\r\nreturns \n with spaces  \n",
    "no\u00a0break, \u200bzero width, \u3000wide",
    "snake_case #hash @at $5.99 100% [x] {y} <z> ~!?...",
    "   ",
    "\n",
    "a\x04b",
    "<|im_start|>user\nToy Story<|im_end|>\n<|im_start|>assistant\n",
    "broken <|im_start| and<|im_end|>glued<|endoftext|> x",
]

# What is special to SentencePiece: its space, its byte tokens, tokens named in a text, line breaks.
SENTENCE_PIECES = [
    "<s>[INST] Toy Story [/INST] Heat</s><s>[INST] and then? [/INST]",
    "</s>Toy Story",
    "</s> Toy Story",
    "<bos><start_of_turn>user\nToy Story<end_of_turn>\n<start_of_turn>model\n",
    "\u2581already\u2581escaped \u2581 both",
    "<0x0A> spelled <0xE9>, not meant",
    "one\n\ntwo\n\n\nthree\n\n\n\n",
    "\t\ttabs     spaces                                  many",
    "<unk> ab aba baba thsthe",
    "i",
    " ",
    "Å Å \u212b \ufb01 ½ ＡＢＣ",
    "नमस्ते दुनिया กรุงเทพ مرحبا",
    "👩‍👩‍👧 🇫🇷 \U0001f9ff",
]

CHAT = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
MOVIES = "You recommend movies. Answer with one title."
PROMPTS = [
    "The capital of France is",
    "In 1995 the movie Toy Story was",
    CHAT.format(
        system=MOVIES, user="I liked Star Wars (1977) and Return of the Jedi (1983). What should I watch next?"
    ),
    CHAT.format(system=MOVIES, user="I liked Misérables, Les and C'est arrivé près de chez vous."),
    CHAT.format(
        system=MOVIES,
        user="Watched, oldest first:\n1. Fargo (1996): 5 of 5\n2. 12 Angry Men (1957): 4 of 5\n"
        "3. Seven (Se7en): 2 of 5\n"
        "Choose the next one from: Toy Story; GoldenEye; Get Shorty; Apollo 13; Die Hard 2; Misérables, Les.",
    ),
    CHAT.format(
        system="Rate a movie from 1 to 5.", user="2001: A Space Odyssey (1968), after Blade Runner (1982)?"
    ) + "I give it",
]
OPTIONS = ["Toy Story", "GoldenEye", "12 Angry Men", "Misérables, Les", "2001: A Space Odyssey", "Apollo 13<|im_end|>"]
TOP = 12
# A server takes seconds for the probabilities of a large vocabulary.
LIKELY = 10_000
TITLES = 500
REPLY = 12


class Server:
    """llama.cpp's own server inside this process, with every rounding turned off that can be."""

    def __init__(self, path):
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 2048
        params.n_parallel = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(params)

    def post(self, path, body):
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server.listening_address + path, data, headers)
        return json.load(urllib.request.urlopen(request))

    def ids(self, text, start=False):
        return self.post("/tokenize", {"content": text, "add_special": start, "parse_special": True})["tokens"]

    def logprobs(self, ids, vocabulary, wanted=()):
        """Log-probability after `ids` of the tokens `wanted` and of all that are likely, as a dict by token id."""
        found = self.likeliest(ids, min(LIKELY, vocabulary))
        return found if all(token in found for token in wanted) else self.likeliest(ids, vocabulary)

    def likeliest(self, ids, count):
        # The probabilities are those before the bias. It makes sure that a whole character is drawn, for behind half of
        # one, and at an end of text, the server reports none.
        body = {"prompt": ids, "n_predict": 1, "n_probs": count, "temperature": 0, "cache_prompt": False}
        body["logit_bias"] = [[self.ids("a")[0], 1000]]
        steps = self.post("/completion", body)["completion_probabilities"]
        return {p["id"]: p["logprob"] for p in steps[0]["top_logprobs"]}

    def reply(self, ids):
        body = {"prompt": ids, "n_predict": REPLY, "temperature": 0, "cache_prompt": False, "return_tokens": True}
        return self.post("/completion", body)["tokens"]


def expanded(path, out):
    """Writes `path` again with all weights as f32; returns the number of tokens in the vocabulary."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def prompts():
    return PROMPTS[: int(sys.argv[3])] if "--prompts" in sys.argv else PROMPTS


def record(server, vocabulary):
    """For each prompt: its first tokens, the sum over each option's tokens after it, and a reply."""
    answers = []
    options = [server.ids(option) for option in OPTIONS]
    for prompt in prompts():
        ids = server.ids(prompt, start=True)
        first = server.logprobs(ids, vocabulary, {tokens[0] for tokens in options})
        sums = []
        for tokens in options:
            total = 0.0
            for i, token in enumerate(tokens):
                total += (first if i == 0 else server.logprobs(ids + tokens[:i], vocabulary, {token}))[token]
            sums.append(total)
        answers.append((first, sums, server.reply(ids)))
    return answers


def laid_out(value, depth=0):
    """JSON with one entry of a list to a line."""
    text = json.dumps(value, ensure_ascii=False)
    ids = isinstance(value, list) and isinstance(value[0], int)
    if len(text) <= 160 or ids or not isinstance(value, (dict, list)):
        return text
    indent = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        inner = [laid_out(entry, depth + 1) for entry in value]
        return "[" + indent + ("," + indent).join(inner) + indent[:-1] + "]"
    inner = [json.dumps(key) + ": " + laid_out(entry, depth + 1) for key, entry in value.items()]
    return "{" + indent + ("," + indent).join(inner) + indent[:-1] + "}"


def recorded(path):
    return {
        "program": "llama.cpp, in process through xllamacpp",
        "version": importlib.metadata.version("xllamacpp"),
        "command": " ".join(["python tests/data/record_llama_cpp.py", *(pathlib.Path(a).name for a in sys.argv[1:])]),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def texts(path, server):
    """Ids of the texts, with those that are special to the file's tokenizer."""
    model = gguf.GGUFReader(path).fields["tokenizer.ggml.model"].contents()
    chosen = TEXTS + (SENTENCE_PIECES if model == "llama" or "--titles" in sys.argv else [])
    return [{"text": text, "ids": server.ids(text)} for text in chosen]


def only_ids(path):
    """Token ids and nothing else."""
    server = Server(path)
    found = {"recorded": recorded(path)}
    if "--texts" in sys.argv:
        found["texts"] = texts(path, server)
    if "--titles" in sys.argv:
        rows = pathlib.Path(sys.argv[sys.argv.index("--titles") + 1]).read_text(encoding="utf-8").splitlines()[1 : 1 + TITLES]
        found["titles"] = [server.ids(row.split("\t")[1]) for row in rows]
    return found


def main():
    path = pathlib.Path(sys.argv[1])
    if len(sys.argv) > 2 and "--prompts" not in sys.argv:
        print(laid_out(only_ids(path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        f32 = pathlib.Path(folder) / "f32.gguf"
        vocabulary = expanded(path, f32)
        server = Server(path)
        spelled = texts(path, server)
        counts = [len(server.ids(option)) for option in OPTIONS]
        lengths = [len(server.ids(prompt, start=True)) for prompt in prompts()]
        quantised = record(server, vocabulary)
        exact = record(Server(f32), vocabulary)
    answers = []
    for prompt, length, (first_q, sums_q, _), (first_f, sums_f, reply) in zip(prompts(), lengths, quantised, exact):
        top = sorted(first_f, key=first_f.get, reverse=True)[:TOP]
        first = [{"id": t, "as_is": round(first_q[t], 5), "f32": round(first_f[t], 5)} for t in top]
        options = [
            {"option": o, "tokens": n, "as_is": round(q, 5), "f32": round(f, 5)}
            for o, n, q, f in zip(OPTIONS, counts, sums_q, sums_f)
        ]
        answers.append({"prompt": prompt, "tokens": length, "reply": reply, "first_token": first, "options": options})
    print(laid_out({"recorded": recorded(path), "texts": spelled, "prompts": answers}))


if __name__ == "__main__":
    main()
