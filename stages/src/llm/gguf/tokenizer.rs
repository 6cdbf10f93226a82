//! Text to token ids and back, built from a GGUF header so that the ids equal llama.cpp's.
//!
//! Only byte-level BPE (`tokenizer.ggml.model = gpt2`). `tokenizer.ggml.pre` names the pre-tokenizer; a name is supported here
//! only if recorded llama.cpp ids prove it, because a wrong pre-tokenizer gives plausible but worse tokens and no error.
//! Special tokens written in a text become their ids; a byte for which the vocabulary has no token (some control characters)
//! is dropped, as llama.cpp does.

use anyhow::{Result, anyhow, bail, ensure};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::metadata::Header;

/// Token types of the GGUF format that a text may name by their spelling.
const UNKNOWN: usize = 2;
const CONTROL: usize = 3;
const USER_DEFINED: usize = 4;

/// How a text is split before the merges; the patterns are llama.cpp's (`llama-vocab.cpp`) for the same names.
struct PreTokenizer {
    /// None for GPT-2's own pattern.
    pattern: Option<&'static str>,
    /// Whether digits are split one by one, before the pattern is applied.
    digits: bool,
    /// Whether a piece that is a token skips the merges.
    whole_words: bool,
    /// Whether a prompt begins with the start token where the metadata say nothing.
    start: bool,
}

impl PreTokenizer {
    const NAMES: [&str; 4] = ["smollm", "gpt-2", "qwen2", "llama-bpe"];

    fn of(name: &str) -> Option<Self> {
        let plain = Self { pattern: None, digits: false, whole_words: false, start: false };
        Some(match name {
            "smollm" => Self { digits: true, ..plain },
            "gpt-2" => plain,
            "qwen2" => Self {
                pattern: Some(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                ),
                ..plain
            },
            "llama-bpe" => Self {
                pattern: Some(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                ),
                whole_words: true,
                start: true,
                ..plain
            },
            _ => return None,
        })
    }

    /// No space is added in front of a text.
    fn build(&self) -> tokenizers::Result<Sequence> {
        let mut steps = Vec::new();
        if self.digits {
            steps.push(Digits::new(true).into());
        }
        if let Some(pattern) = self.pattern {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
        }
        steps.push(ByteLevel::new(false, false, self.pattern.is_none()).into());
        Ok(Sequence::new(steps))
    }
}

pub(super) struct BpeTokenizer {
    tokenizer: Tokenizer,
    /// By token id: whether it is a control token.
    control: Vec<bool>,
    /// The start token before the first segment of a prompt, where the metadata request one.
    pub(super) start: Option<u32>,
}

impl BpeTokenizer {
    pub(super) fn from_header(header: &Header) -> Result<Self> {
        let place = header.place();
        let model = header.required("tokenizer.ggml.model", header.text("tokenizer.ggml.model"))?;
        ensure!(
            model == "gpt2",
            "{place}: tokenizer model `{model}` is not supported; supported: gpt2 (byte-level BPE)"
        );
        let pre = header.required("tokenizer.ggml.pre", header.text("tokenizer.ggml.pre"))?;
        let Some(pre_tokenizer) = PreTokenizer::of(&pre) else {
            bail!(
                "{place}: tokenizer.ggml.pre `{pre}` is not supported; supported: {}",
                PreTokenizer::NAMES.join(", ")
            );
        };
        let tokens = header.required("tokenizer.ggml.tokens", header.texts("tokenizer.ggml.tokens"))?;
        let types = header.required("tokenizer.ggml.token_type", header.integers("tokenizer.ggml.token_type"))?;
        ensure!(
            types.len() == tokens.len(),
            "{place}: {} tokens but {} entries in tokenizer.ggml.token_type",
            tokens.len(),
            types.len()
        );
        let mut merges = Vec::new();
        for (row, merge) in
            header.required("tokenizer.ggml.merges", header.texts("tokenizer.ggml.merges"))?.into_iter().enumerate()
        {
            let Some((left, right)) = merge.split_once(' ') else {
                bail!("{place}: tokenizer.ggml.merges[{row}] is `{merge}`, wanted two parts with a space between");
            };
            merges.push((left.to_owned(), right.to_owned()));
        }
        let vocabulary: Vocab = tokens.iter().cloned().zip(0_u32..).collect();
        let broken = |error: tokenizers::Error| anyhow!("{place}: the tokenizer in the metadata is broken: {error}");
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .ignore_merges(pre_tokenizer.whole_words)
            .build()
            .map_err(broken)?;
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer.build().map_err(broken)?));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let named = tokens.iter().zip(&types).filter(|(_, kind)| [UNKNOWN, CONTROL, USER_DEFINED].contains(kind));
        tokenizer.add_special_tokens(named.map(|(token, _)| AddedToken::from(token.clone(), true))).map_err(broken)?;
        let start = if header.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(pre_tokenizer.start) {
            let id = header.required("tokenizer.ggml.bos_token_id", header.integer("tokenizer.ggml.bos_token_id"))?;
            ensure!(
                id < tokens.len(),
                "{place}: tokenizer.ggml.bos_token_id is {id}, but there are {} tokens",
                tokens.len()
            );
            Some(u32::try_from(id)?)
        } else {
            None
        };
        Ok(Self { tokenizer, control: types.iter().map(|kind| *kind == CONTROL).collect(), start })
    }

    /// Number of tokens in the vocabulary.
    pub(super) fn len(&self) -> usize {
        self.control.len()
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|error| anyhow!("cannot tokenise {text:?}: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Bytes that do not form a whole character become U+FFFD.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| anyhow!("cannot turn token ids {ids:?} into text: {error}"))
    }

    /// Whether this is a control token, such as the end of a message.
    pub(super) fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gguf, toy};
    use super::*;

    #[test]
    fn digits_stand_alone_and_special_tokens_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let tokenizer = BpeTokenizer::from_header(&Header::open(&path).unwrap()).unwrap();
        let spelled = |text: &str| -> Vec<String> {
            tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.tokenizer.id_to_token(id).unwrap()).collect()
        };
        assert_eq!(spelled(" 1995"), ["Ġ", "1", "9", "9", "5"]);
        assert_eq!(spelled("the the"), ["the", "Ġthe"]);
        assert_eq!(spelled("é<|im_end|>\n"), ["Ã", "©", "<|im_end|>", "Ċ"]);
        assert!(tokenizer.is_control(tokenizer.encode("<|im_end|>").unwrap()[0]));
        assert!(!tokenizer.is_control(tokenizer.encode("e").unwrap()[0]));
    }

    #[test]
    fn text_survives_the_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        for text in ["Misérables, Les (1995)", " two  spaces\n\n", "千と千尋の神隠し 🎬"] {
            assert_eq!(model.tokenizer.decode(&model.tokenize(text).unwrap()).unwrap(), text);
        }
    }
}
