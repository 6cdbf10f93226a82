//! Text to token ids and back, built from a GGUF header so that the ids equal llama.cpp's.
//!
//! Special tokens written in a text become their ids. What is supported is what recorded llama.cpp ids prove, because a wrong
//! tokenizer gives plausible but worse tokens and no error.

use anyhow::{Result, bail, ensure};

use super::byte_level::ByteLevelBpe;
use super::metadata::Header;
use super::sentence_piece::SentencePiece;
use super::supported::{TOKENIZERS, supported};
use super::vocabulary::{CONTROL, UNKNOWN, USER_DEFINED, Vocabulary};

enum Scheme {
    ByteLevel(Box<ByteLevelBpe>),
    SentencePiece(SentencePiece),
}

pub(super) struct Tokenizer {
    scheme: Scheme,
    /// By token id: its type.
    types: Vec<usize>,
    /// The start token before the first segment of a prompt, where the metadata request one.
    pub(super) start: Option<u32>,
}

impl Tokenizer {
    pub(super) fn from_header(header: &Header) -> Result<Self> {
        let place = header.place();
        let model = header.required("tokenizer.ggml.model", header.text("tokenizer.ggml.model"))?;
        let [byte_level, sentence_piece] = TOKENIZERS.map(|name| name == model);
        if !byte_level && !sentence_piece {
            bail!("{place}: tokenizer.ggml.model `{model}` is not supported\n{}", supported());
        }
        let vocabulary = Vocabulary::from_header(header)?;
        let (scheme, starts) = match byte_level {
            true => {
                let (scheme, starts) = ByteLevelBpe::from_header(header, &vocabulary)?;
                (Scheme::ByteLevel(Box::new(scheme)), starts)
            }
            false => (Scheme::SentencePiece(SentencePiece::from_header(header, &vocabulary)?), true),
        };
        let start = if header.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(starts) {
            let id = header.required("tokenizer.ggml.bos_token_id", header.integer("tokenizer.ggml.bos_token_id"))?;
            ensure!(
                id < vocabulary.tokens.len(),
                "{place}: tokenizer.ggml.bos_token_id is {id}, but there are {} tokens",
                vocabulary.tokens.len()
            );
            Some(u32::try_from(id)?)
        } else {
            None
        };
        Ok(Self { scheme, types: vocabulary.types, start })
    }

    /// Number of tokens in the vocabulary.
    pub(super) fn len(&self) -> usize {
        self.types.len()
    }

    /// Ids of a text that continues another one.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_text(text, false)
    }

    /// Ids of a text after the token `previous`; without one it begins a prompt. The start token is not among them.
    ///
    /// SentencePiece writes a space before a text that begins a prompt or follows a token of the vocabulary that a text names.
    pub(super) fn encode_after(&self, text: &str, previous: Option<u32>) -> Result<Vec<u32>> {
        let begins = previous.is_none_or(|id| [UNKNOWN, CONTROL, USER_DEFINED].contains(&self.kind(id)));
        self.encode_text(text, begins)
    }

    fn encode_text(&self, text: &str, begins: bool) -> Result<Vec<u32>> {
        match &self.scheme {
            Scheme::ByteLevel(bpe) => bpe.encode(text),
            Scheme::SentencePiece(pieces) => Ok(pieces.encode(text, begins)),
        }
    }

    /// Bytes that do not form a whole character become U+FFFD.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        match &self.scheme {
            Scheme::ByteLevel(bpe) => bpe.decode(ids),
            Scheme::SentencePiece(pieces) => Ok(pieces.decode(ids)),
        }
    }

    /// Whether this is a control token, such as the end of a message.
    pub(super) fn is_control(&self, id: u32) -> bool {
        self.kind(id) == CONTROL
    }

    fn kind(&self, id: u32) -> usize {
        self.types.get(id as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gguf, toy};

    #[test]
    fn text_survives_the_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        for toy in [toy::Toy::new().unwrap(), toy::Toy::sentence_piece().unwrap()] {
            toy.write(&path).unwrap();
            let model = Gguf::load(&path).unwrap();
            for text in ["Misérables, Les (1995)", " two  spaces\n\n", "千と千尋の神隠し 🎬"] {
                assert_eq!(model.tokenizer.decode(&model.tokenizer.encode(text).unwrap()).unwrap(), text);
            }
        }
    }
}
