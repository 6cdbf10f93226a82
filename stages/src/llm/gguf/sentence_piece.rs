//! SentencePiece's BPE (Kudo & Richardson 2018), as the files of Llama 2, Mistral and Gemma use it (`tokenizer.ggml.model = llama`).
//!
//! A text is merged from its characters: of all neighbours that form a token, those whose token has the highest score become one, the
//! first in the text among equals, until none form a token. A character without a token is written in its bytes. A space is
//! U+2581. Ids equal llama.cpp's (`llm_tokenizer_spm`), and therefore include its habit that a text which spells a
//! byte token such as `<0x0A>` may be merged to it.
//!
//! Not here: SentencePiece's unigram model (T5), its normalisation tables, sampling.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use anyhow::{Result, ensure};

use super::metadata::Header;
use super::named_tokens::{NamedTokens, TextPart};
use super::vocabulary::{BYTE, CONTROL, UNKNOWN, USER_DEFINED, Vocabulary};

/// How a vocabulary spells a space.
const SPACE: &str = "\u{2581}";

/// What a token is in a text.
enum Piece {
    Text(String),
    Byte(u8),
    /// Control tokens.
    Nothing,
}

pub(super) struct SentencePiece {
    ids: HashMap<String, u32>,
    /// By token id: the score of a merge to it.
    scores: Vec<f32>,
    /// By token id.
    pieces: Vec<Piece>,
    /// The token of each byte.
    bytes: Vec<u32>,
    named: NamedTokens,
    /// Whether a text that begins a prompt gets a space in front of it.
    space_prefix: bool,
}

impl SentencePiece {
    pub(super) fn from_header(header: &Header, vocabulary: &Vocabulary) -> Result<Self> {
        let place = header.place();
        let Vocabulary { tokens, types } = vocabulary;
        let scores = header.required("tokenizer.ggml.scores", header.reals("tokenizer.ggml.scores"))?;
        ensure!(
            scores.len() == tokens.len() && scores.iter().all(|score| score.is_finite()),
            "{place}: tokenizer.ggml.scores holds {} values for {} tokens, wanted one finite score each",
            scores.len(),
            tokens.len()
        );
        let ids: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
        let mut bytes = Vec::with_capacity(256);
        for byte in 0..=255_u8 {
            let id = ids.get(&format!("<0x{byte:02X}>")).filter(|id| types[**id as usize] == BYTE);
            ensure!(
                id.is_some(),
                "{place}: the SentencePiece vocabulary has no byte token `<0x{byte:02X}>`; one without byte fallback is not \
                 supported\nhelp: serve the model, and use `llm: {{ openai: … }}`"
            );
            bytes.extend(id);
        }
        let mut pieces: Vec<Piece> = tokens
            .iter()
            .zip(types)
            .map(|(token, kind)| match *kind {
                CONTROL | UNKNOWN => Piece::Nothing,
                USER_DEFINED => Piece::Text(token.clone()),
                _ => Piece::Text(token.replace(SPACE, " ")),
            })
            .collect();
        for (byte, id) in (0..=255).zip(&bytes) {
            pieces[*id as usize] = Piece::Byte(byte);
        }
        Ok(Self {
            ids,
            scores: scores.into_iter().map(|score| score as f32).collect(),
            pieces,
            bytes,
            named: NamedTokens::new(vocabulary.named()),
            space_prefix: header.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        })
    }

    /// Ids of a text; `begins` where it begins a prompt or follows a named token.
    pub(super) fn encode(&self, text: &str, mut begins: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        for part in self.named.split(text) {
            match part {
                TextPart::Token(id) => ids.push(id),
                TextPart::Text(text) => {
                    let prefix = if begins && self.space_prefix { SPACE } else { "" };
                    self.merge(&format!("{prefix}{}", text.replace(' ', SPACE)), &mut ids);
                }
            }
            begins = matches!(part, TextPart::Token(_));
        }
        ids
    }

    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for piece in ids.iter().filter_map(|id| self.pieces.get(*id as usize)) {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Piece::Byte(byte) => bytes.push(*byte),
                Piece::Nothing => {}
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn merge(&self, text: &str, out: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (from, character))| Symbol {
                from,
                to: from + character.len_utf8(),
                previous: index.checked_sub(1),
                next: Some(index + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let merge = |symbols: &[Symbol], left: usize, right: usize| {
            let (from, to) = (symbols[left].from, symbols[right].to);
            let id = *self.ids.get(&text[from..to])?;
            Some(Merge { score: self.scores[id as usize], left, right, length: to - from })
        };
        let mut merges: BinaryHeap<Merge> =
            (1..symbols.len()).filter_map(|right| merge(&symbols, right - 1, right)).collect();
        while let Some(Merge { left, right, length, .. }) = merges.pop() {
            // One of the two may be part of another merge by now.
            let lengths = [left, right].map(|index| symbols[index].to - symbols[index].from);
            if lengths.contains(&0) || lengths[0] + lengths[1] != length {
                continue;
            }
            let next = symbols[right].next;
            symbols[left].to = symbols[right].to;
            symbols[left].next = next;
            symbols[right].from = symbols[right].to;
            if let Some(next) = next {
                symbols[next].previous = Some(left);
                merges.extend(merge(&symbols, left, next));
            }
            if let Some(previous) = symbols[left].previous {
                merges.extend(merge(&symbols, previous, left));
            }
        }
        for symbol in symbols.iter().filter(|symbol| symbol.from < symbol.to) {
            let text = &text[symbol.from..symbol.to];
            match self.ids.get(text) {
                Some(id) => out.push(*id),
                None => out.extend(text.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }
}

/// A part of the text that is one token, or one character; empty when it became part of its neighbour.
struct Symbol {
    from: usize,
    to: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that form a token of `length` bytes. The greatest comes first.
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    length: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are finite, and −0 equals 0.
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then(other.left.cmp(&self.left)).then(self.length.cmp(&other.length))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::Tokenizer;
    use super::super::{Header, toy};
    use candle_core::quantized::gguf_file::Value;

    /// A toy's tokenizer, and a function that spells what a text becomes.
    fn spelled(change: impl Fn(&mut toy::Toy)) -> impl Fn(&str, Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        let mut toy = toy::Toy::sentence_piece().unwrap();
        change(&mut toy);
        toy.write(&path).unwrap();
        let header = Header::open(&path).unwrap();
        let tokens = header.texts("tokenizer.ggml.tokens").unwrap().unwrap();
        let tokenizer = Tokenizer::from_header(&header).unwrap();
        move |text, previous| {
            let ids = match previous {
                Some("") => tokenizer.encode(text).unwrap(),
                Some(token) => {
                    let id = tokens.iter().position(|other| other == token).unwrap() as u32;
                    tokenizer.encode_after(text, Some(id)).unwrap()
                }
                None => tokenizer.encode_after(text, None).unwrap(),
            };
            ids.into_iter().map(|id| tokens[id as usize].clone()).collect()
        }
    }

    #[test]
    fn the_highest_score_is_merged_first_and_the_rest_is_bytes() {
        let spelled = spelled(|_| {});
        // `hs` scores above `th`, though it stands later.
        assert_eq!(spelled("ths", Some("")), ["t", "hs"]);
        assert_eq!(spelled("the", Some("")), ["the"]);
        // Equal scores: the first in the text.
        assert_eq!(spelled("aba", Some("")), ["ab", "a"]);
        assert_eq!(spelled("ñx", Some("")), ["<0xC3>", "<0xB1>", "<0x78>"]);
        // As llama.cpp: a text that spells a byte token.
        assert_eq!(spelled("<0x0A>", Some("")), ["<0x0A>"]);
    }

    #[test]
    fn a_space_is_added_at_a_beginning_and_behind_a_named_token_only() {
        let with = spelled(|_| {});
        assert_eq!(with("ab", None), ["▁", "ab"]);
        assert_eq!(with("ab", Some("")), ["ab"]);
        assert_eq!(with("ab", Some("t")), ["ab"]);
        assert_eq!(with("ab", Some("</s>")), ["▁", "ab"]);
        assert_eq!(with("ab</s>ab", None), ["▁", "ab", "</s>", "▁", "ab"]);
        assert_eq!(with("</s>ab", None), ["</s>", "▁", "ab"]);
        assert_eq!(with("", None), [""; 0]);
        let without = spelled(|toy| {
            toy.metadata.push(("tokenizer.ggml.add_space_prefix".into(), Value::Bool(false)));
        });
        assert_eq!(without("ab</s>ab", None), ["ab", "</s>", "ab"]);
    }

    #[test]
    fn a_vocabulary_without_byte_tokens_or_scores_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        let refused = |key: &str, change: &dyn Fn(&mut Vec<Value>)| {
            let mut toy = toy::Toy::sentence_piece().unwrap();
            for (name, value) in &mut toy.metadata {
                if name == key
                    && let Value::Array(values) = value
                {
                    change(values);
                }
            }
            toy.write(&path).unwrap();
            Tokenizer::from_header(&Header::open(&path).unwrap()).err().unwrap().to_string()
        };
        let error = refused("tokenizer.ggml.tokens", &|tokens| {
            let at = tokens.iter().position(|token| matches!(token, Value::String(text) if text == "<0x41>")).unwrap();
            tokens[at] = Value::String("<0x041>".into());
        });
        assert!(error.contains("no byte token `<0x41>`") && error.contains("help: "), "{error}");
        let error = refused("tokenizer.ggml.scores", &|scores| scores[5] = Value::F32(f32::NAN));
        assert!(error.contains("wanted one finite score each"), "{error}");
    }
}
