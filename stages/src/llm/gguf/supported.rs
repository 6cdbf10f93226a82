//! Which models can be read.

/// Values of `general.architecture`.
const ARCHITECTURES: [&str; 2] = ["llama", "qwen2"];

/// Values of `tokenizer.ggml.model`: byte-level BPE and SentencePiece.
pub(super) const TOKENIZERS: [&str; 2] = ["gpt2", "llama"];

/// Values of `tokenizer.ggml.pre`.
const PRE_TOKENIZERS: [&str; 4] = ["smollm", "gpt-2", "qwen2", "llama-bpe"];

/// The same in words, for the errors of what cannot be read.
pub(super) fn supported() -> String {
    format!(
        "help: supported are the architectures {}; the tokenizer.ggml.model `gpt2` with the tokenizer.ggml.pre {}, and `{}` \
         (SentencePiece); serve another model, and use `llm: {{ openai: … }}`",
        ARCHITECTURES.join(", "),
        PRE_TOKENIZERS.join(", "),
        TOKENIZERS[1]
    )
}
