//! Byte-level BPE (`tokenizer.ggml.model = gpt2`), as the files of SmolLM, Qwen2 and Llama 3 use it.
//!
//! `tokenizer.ggml.pre` names the pre-tokenizer. A byte for which the vocabulary has no token (some control characters) is
//! dropped, as llama.cpp does.

use anyhow::{Result, anyhow, bail};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::metadata::Header;
use super::supported::supported;
use super::vocabulary::Vocabulary;

/// How a text is split before the merges; the patterns are llama.cpp's (`llama-vocab.cpp`) for the same names.
pub(super) struct PreTokenizer {
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

pub(super) struct ByteLevelBpe(Tokenizer);

impl ByteLevelBpe {
    /// The tokenizer, and whether a prompt begins with the start token where the metadata say nothing.
    pub(super) fn from_header(header: &Header, vocabulary: &Vocabulary) -> Result<(Self, bool)> {
        let place = header.place();
        let Some(pre) = header.text("tokenizer.ggml.pre")? else {
            bail!(
                "{place}: metadata key `tokenizer.ggml.pre` is missing, as in files of before 2024: how texts are split is unknown\n{}",
                supported()
            );
        };
        let Some(pre_tokenizer) = PreTokenizer::of(&pre) else {
            bail!("{place}: tokenizer.ggml.pre `{pre}` is not supported\n{}", supported());
        };
        let mut merges = Vec::new();
        for (row, merge) in
            header.required("tokenizer.ggml.merges", header.texts("tokenizer.ggml.merges"))?.into_iter().enumerate()
        {
            let Some((left, right)) = merge.split_once(' ') else {
                bail!("{place}: tokenizer.ggml.merges[{row}] is `{merge}`, wanted two parts with a space between");
            };
            merges.push((left.to_owned(), right.to_owned()));
        }
        let ids: Vocab = vocabulary.tokens.iter().cloned().zip(0_u32..).collect();
        let broken = |error: tokenizers::Error| anyhow!("{place}: the tokenizer in the metadata is broken: {error}");
        let bpe = BPE::builder()
            .vocab_and_merges(ids, merges)
            .ignore_merges(pre_tokenizer.whole_words)
            .build()
            .map_err(broken)?;
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer.build().map_err(broken)?));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let named = vocabulary.named().map(|(token, _)| AddedToken::from(token.clone(), true));
        tokenizer.add_special_tokens(named).map_err(broken)?;
        Ok((Self(tokenizer), pre_tokenizer.start))
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.0.encode_fast(text, false).map_err(|error| anyhow!("cannot tokenise {text:?}: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        self.0.decode(ids, true).map_err(|error| anyhow!("cannot turn token ids {ids:?} into text: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer;
    use super::super::{Header, toy};

    #[test]
    fn digits_stand_alone_and_special_tokens_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let header = Header::open(&path).unwrap();
        let tokens = header.texts("tokenizer.ggml.tokens").unwrap().unwrap();
        let tokenizer = tokenizer::Tokenizer::from_header(&header).unwrap();
        let spelled = |text: &str| -> Vec<String> {
            tokenizer.encode(text).unwrap().into_iter().map(|id| tokens[id as usize].clone()).collect()
        };
        assert_eq!(spelled(" 1995"), ["Ġ", "1", "9", "9", "5"]);
        assert_eq!(spelled("the the"), ["the", "Ġthe"]);
        assert_eq!(spelled("é<|im_end|>\n"), ["Ã", "©", "<|im_end|>", "Ċ"]);
        assert!(tokenizer.is_control(tokenizer.encode("<|im_end|>").unwrap()[0]));
        assert!(!tokenizer.is_control(tokenizer.encode("e").unwrap()[0]));
    }
}
