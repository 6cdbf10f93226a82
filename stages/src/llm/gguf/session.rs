//! One conversation with a model: evaluated tokens are cached, and a prompt that shares a beginning evaluates only the rest.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Gguf;
use super::decoder::{BatchSlice, KvCache, SliceOutput};
use super::logits::Logits;
use super::pieces::pieces;
use crate::llm::CompletionRequest;

/// The most tokens of one session in a forward pass; bounds the memory of attention and of the logits. Where a prompt is cut
/// depends on its own lengths only.
const MAX_PASS_TOKENS: usize = 256;

/// The most rows of logits in memory at once: 19 MB with Qwen2's vocabulary of 152,000.
const MAX_LOGIT_ROWS: usize = 32;

/// The log-probability of a text after a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Σ ln p(token | all before) over the tokens of the text; at most 0.
    pub logprob_sum: f64,
    /// How many tokens the text has, at least 1.
    pub tokens: usize,
}

/// An evaluated segment. Cloning it shares its keys and values.
#[derive(Clone)]
struct Segment {
    /// None of the virtual tokens.
    text: Option<String>,
    tokens: usize,
    /// Its last token; none when it has no token.
    end: Option<u32>,
    kv: Vec<KvCache>,
    /// The model's output `[width]` at the segment's last token; none when it has no token.
    last: Option<Vec<f32>>,
}

impl Gguf {
    /// A new conversation with nothing evaluated yet.
    #[must_use]
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }
}

/// A cache of evaluated segments over a shared [`Gguf`].
pub struct Session<'m> {
    model: &'m Gguf,
    segments: Vec<Segment>,
    evaluated: u64,
}

impl<'m> Session<'m> {
    pub(super) fn new(model: &'m Gguf) -> Self {
        Self { model, segments: Vec::new(), evaluated: 0 }
    }

    /// A second session that starts with everything this one has cached; its own count starts at 0.
    ///
    /// Evaluate a common system text once, then fork a session per user.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { model: self.model, segments: self.segments.clone(), evaluated: 0 }
    }

    /// How many tokens this session has run through the model so far; cached ones do not count again.
    #[must_use]
    pub fn evaluated_tokens(&self) -> u64 {
        self.evaluated
    }

    /// Evaluates a prompt in advance.
    ///
    /// # Errors
    /// A prompt without a token, or longer than the model's context.
    pub fn prepare(&mut self, segments: &[String]) -> Result<()> {
        self.evaluate_pieces(&pieces(segments, 0), 0).map(drop)
    }

    /// Scores each option as the continuation of the prompt.
    ///
    /// All options share one evaluation of the prompt and, up to 256 tokens, one forward pass, in which each option attends
    /// to the prompt and to itself only. An option is tokenised by itself, so a leading space belongs to the option, not to
    /// the end of the prompt.
    ///
    /// # Errors
    /// No or an empty option; a prompt without a token; more tokens than the model's context.
    pub fn score(&mut self, segments: &[String], options: &[String]) -> Result<Vec<Score>> {
        ensure!(!options.is_empty(), "no option to score");
        let mut tokens = Vec::with_capacity(options.len());
        for (index, option) in options.iter().enumerate() {
            let ids = self.model.tokenizer.encode(option)?;
            ensure!(!ids.is_empty(), "option {index} ({option:?}) has no token");
            tokens.push(ids);
        }
        let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let (before, last) = self.evaluate(segments, longest)?;
        let mut scores = Vec::with_capacity(options.len());
        for batch in batches(&tokens) {
            let sums = self.score_batch(batch, before, &last);
            scores
                .extend(sums.into_iter().zip(batch).map(|(logprob_sum, ids)| Score { logprob_sum, tokens: ids.len() }));
        }
        ensure!(scores.iter().all(|score| score.logprob_sum.is_finite()), damaged(&self.model.name));
        Ok(scores)
    }

    /// Generates a text after the prompt by greedy decoding.
    ///
    /// Ends before `stop` (when it is not empty), at a control token such as `<|im_end|>`, after `max_tokens`, or where
    /// the context is full. The reply is not cached: pass it as a segment to continue from it.
    ///
    /// # Errors
    /// A prompt without a token, or longer than the model's context.
    pub fn reply(&mut self, segments: &[String], max_tokens: usize, stop: &str) -> Result<String> {
        self.generate(segments, max_tokens, stop, |logits| logits.argmax(0))
    }

    /// Generates the requested text, with a prompt in the form of the file's chat template or, without one, as plain text.
    /// Sampling depends on the request alone.
    ///
    /// # Errors
    /// As [`Session::reply`]; and where the template cannot be rendered.
    pub fn complete(&mut self, request: &CompletionRequest) -> Result<String> {
        let segments = match &self.model.chat {
            Some(chat) => chat.segments(&request.context, &request.completion_prefix)?,
            None => request.context.iter().chain([&request.completion_prefix]).cloned().collect(),
        };
        let seed = blake3::hash(request.canonical().as_bytes());
        let mut draws = ChaCha8Rng::from_seed(*seed.as_bytes());
        let temperature = request.temperature;
        if let Some((low, high)) = request.integer {
            return self.complete_integer(&segments, low..=high, temperature, draws.random());
        }
        self.generate(&segments, request.max_tokens as usize, &request.stop, |logits| match temperature > 0.0 {
            true => logits.sample(0, temperature, draws.random()),
            false => logits.argmax(0),
        })
    }

    /// A whole number of `range` by its probability after the prompt: the most probable, or sampled with `draw`.
    fn complete_integer(
        &mut self,
        segments: &[String],
        range: RangeInclusive<i32>,
        temperature: f64,
        draw: f64,
    ) -> Result<String> {
        let numbers: Vec<i32> = range.collect();
        let options: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let scores: Vec<f64> = self.score(segments, &options)?.iter().map(|score| score.logprob_sum).collect();
        let best =
            (0..scores.len()).reduce(|a, b| if scores[b] > scores[a] { b } else { a }).context("no number to write")?;
        let mut chosen = best;
        if temperature > 0.0 {
            let share = |k: usize| ((scores[k] - scores[best]) / temperature).exp();
            let mut left = draw * (0..scores.len()).map(share).sum::<f64>();
            chosen = (0..scores.len())
                .find(|&k| {
                    left -= share(k);
                    left < 0.0
                })
                .unwrap_or(best);
        }
        Ok(options[chosen].clone())
    }

    fn generate(
        &mut self,
        segments: &[String],
        max_tokens: usize,
        stop: &str,
        mut pick: impl FnMut(&Logits) -> Option<u32>,
    ) -> Result<String> {
        let (before, last) = self.evaluate(segments, 0)?;
        let mut next = None;
        let mut generated: Vec<u32> = Vec::new();
        let mut kv: Vec<KvCache> = Vec::new();
        let mut text = String::new();
        for position in before..self.model.context_length().min(before.saturating_add(max_tokens)) {
            if let Some(token) = generated.last() {
                let past = self.segments.iter().flat_map(|segment| &segment.kv).chain(&kv).cloned().collect();
                let (tokens, positions, mask) = (vec![*token], vec![position - 1], vec![true]);
                let evaluated = self.model.forward(BatchSlice { past, tokens, positions, mask, wants_logits: true });
                self.evaluated += 1;
                next = evaluated.next_logits;
                kv.push(evaluated.kv);
            }
            let logits = next.take().unwrap_or_else(|| self.model.decoder.logits(&last));
            let token = pick(&logits).with_context(|| damaged(&self.model.name))?;
            if self.model.tokenizer.is_control(token) {
                break;
            }
            generated.push(token);
            text = self.model.tokenizer.decode(&generated)?;
            if let Some(end) = text.find(stop).filter(|_| !stop.is_empty()) {
                text.truncate(end);
                break;
            }
        }
        Ok(text)
    }

    /// Makes the cache that of this prompt; returns its length and the output `[width]` at its last token. `reserve` further
    /// tokens must fit into the context.
    pub(super) fn evaluate(&mut self, segments: &[String], reserve: usize) -> Result<(usize, Vec<f32>)> {
        self.evaluate_pieces(&pieces(segments, self.model.decoder.virtual_tokens()), reserve)
    }

    fn evaluate_pieces(&mut self, segments: &[Option<&str>], reserve: usize) -> Result<(usize, Vec<f32>)> {
        let same = self.segments.iter().zip(segments).take_while(|(have, want)| have.text.as_deref() == **want).count();
        let mut ids = Vec::with_capacity(segments.len() - same);
        let mut previous = self.segments[..same].iter().rev().find_map(|segment| segment.end);
        for (index, text) in segments.iter().enumerate().skip(same) {
            let tokens = self.model.piece_tokens(index == 0, *text, previous, self.model.decoder.virtual_tokens())?;
            previous = self.model.last_of_text(&tokens).or(previous);
            ids.push(tokens);
        }
        let cached: usize = self.segments[..same].iter().map(|segment| segment.tokens).sum();
        let length = cached + ids.iter().map(Vec::len).sum::<usize>();
        let context = self.model.context_length();
        ensure!(
            length + reserve <= context,
            "the prompt has {length} tokens and its longest continuation {reserve}: {} more than the context of {} holds \
             ({context})\nhelp: show fewer turns or fewer candidates",
            length + reserve - context,
            self.model.name
        );
        self.segments.truncate(same);
        let mut before = cached;
        for (text, ids) in segments[same..].iter().zip(ids) {
            let end = self.model.last_of_text(&ids);
            let mut segment =
                Segment { text: text.map(str::to_owned), tokens: ids.len(), end, kv: Vec::new(), last: None };
            for pass in ids.chunks(MAX_PASS_TOKENS) {
                let positions: Vec<usize> = (before..before + pass.len()).collect();
                let past = self.segments.iter().chain([&segment]).flat_map(|segment| &segment.kv).cloned().collect();
                let SliceOutput { hidden, kv: fresh, .. } = self.forward(past, pass, positions, |i, j| j <= i);
                segment.last = Some(hidden[hidden.len() - self.model.decoder.config.width..].to_vec());
                segment.kv.push(fresh);
                before += pass.len();
                self.evaluated += pass.len() as u64;
            }
            self.segments.push(segment);
        }
        let last = self.segments.iter().rev().find_map(|segment| segment.last.clone());
        Ok((length, last.context("the prompt has no token")?))
    }

    fn forward(
        &self,
        past: Vec<KvCache>,
        tokens: &[u32],
        positions: Vec<usize>,
        mask: impl Fn(usize, usize) -> bool,
    ) -> SliceOutput {
        let count = tokens.len();
        let mask = (0..count * count).map(|pair| mask(pair / count, pair % count)).collect();
        self.model.forward(BatchSlice { past, tokens: tokens.to_vec(), positions, mask, wants_logits: false })
    }

    /// ln p of each option after a prompt of `before` tokens whose last output is `last`.
    fn score_batch(&mut self, options: &[Vec<u32>], before: usize, last: &[f32]) -> Vec<f64> {
        // An option's last token is predicted, not evaluated.
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut owner = Vec::new();
        for (index, ids) in options.iter().enumerate() {
            let read = &ids[..ids.len() - 1];
            tokens.extend_from_slice(read);
            positions.extend(before..before + read.len());
            owner.resize(tokens.len(), index);
        }
        let mut rows = last.to_vec();
        if !tokens.is_empty() {
            let past = self.segments.iter().flat_map(|segment| &segment.kv).cloned().collect();
            let mask = |i: usize, j: usize| j <= i && owner[i] == owner[j];
            rows.extend(self.forward(past, &tokens, positions, mask).hidden);
            self.evaluated += tokens.len() as u64;
        }
        // Row 0 predicts every option's first token; an option's own rows, one fewer than its tokens, follow from `start`.
        let mut start = 1;
        let mut wanted: Vec<(usize, usize, u32)> = Vec::new();
        for (option, ids) in options.iter().enumerate() {
            wanted.extend(std::iter::once(0).chain(start..).zip(ids).map(|(row, id)| (row, option, *id)));
            start += ids.len() - 1;
        }
        let mut sums = vec![0.0; options.len()];
        for (chunk, rows) in rows.chunks(MAX_LOGIT_ROWS * self.model.decoder.config.width).enumerate() {
            let logits = self.model.decoder.logits(rows);
            let here = chunk * MAX_LOGIT_ROWS..(chunk + 1) * MAX_LOGIT_ROWS;
            for (row, option, id) in wanted.iter().filter(|(row, ..)| here.contains(row)) {
                sums[*option] += logits.log_probability(row - here.start, *id);
            }
        }
        sums
    }
}

/// Splits options into batches whose tokens fit one pass; an option longer than a pass is a batch of its own.
fn batches(options: &[Vec<u32>]) -> Vec<&[Vec<u32>]> {
    let mut batches = Vec::new();
    let (mut from, mut tokens) = (0, 0);
    for (index, ids) in options.iter().enumerate() {
        if index > from && tokens + ids.len() > MAX_PASS_TOKENS {
            batches.push(&options[from..index]);
            (from, tokens) = (index, 0);
        }
        tokens += ids.len();
    }
    batches.push(&options[from..]);
    batches
}

fn damaged(name: &str) -> String {
    format!("the model {name} gives no finite probabilities\nhelp: its weights may be damaged; fetch the file again")
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::*;
    use rayon::iter::{IntoParallelIterator, ParallelIterator};

    fn toy() -> Gguf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        Gguf::load(&path).unwrap()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    const SYSTEM: &str = "<|im_start|>system\nYou recommend movies.<|im_end|>\n";
    const OPTIONS: [&str; 5] = ["Toy Story", "GoldenEye", "12 Angry Men", "é", "Toy Story 2"];

    #[test]
    fn cached_resumed_and_forked_give_the_same_bits() {
        let (model, options) = (toy(), texts(&OPTIONS));
        let long = "Long ago in the theatre. ".repeat(30);
        let turns = texts(&[SYSTEM, "1. Fargo\n", &long, "3. Brazil\n", "Next: "]);
        let fresh: Vec<_> = (2..=5).map(|n| model.session().score(&turns[..n], &options).unwrap()).collect();
        // One session that grows turn by turn, one forked after the system text, one that was somewhere else before.
        let mut growing = model.session();
        let mut forked = {
            let mut first = model.session();
            first.score(&turns[..1], &options).unwrap();
            first.fork()
        };
        let mut elsewhere = model.session();
        elsewhere.score(&texts(&[SYSTEM, "1. Fargo\n", "2. Alien\n", "3. Brazil\n"]), &options).unwrap();
        elsewhere.reply(&turns[..2], 5, "").unwrap();
        for session in [&mut growing, &mut forked, &mut elsewhere] {
            for (n, fresh) in (2..=5).zip(&fresh) {
                assert_eq!(&session.score(&turns[..n], &options).unwrap(), fresh, "{n} segments");
            }
            assert_eq!(&session.score(&turns[..3], &options).unwrap(), &fresh[1], "back to 3 segments");
        }
    }

    #[test]
    fn sessions_on_two_threads_give_the_bits_of_one() {
        let (model, options) = (toy(), texts(&OPTIONS));
        let score = |user: usize| {
            let mut session = model.session();
            let turns = [SYSTEM.to_owned(), format!("user {user}\n"), "Next: ".to_owned()];
            (1..=3).map(|n| session.score(&turns[..n], &options).unwrap()).collect::<Vec<_>>()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let together: Vec<_> = pool.install(|| (0..8).into_par_iter().map(score).collect());
        assert_eq!(together, (0..8).map(score).collect::<Vec<_>>());
    }

    #[test]
    fn only_new_segments_are_evaluated() {
        let model = toy();
        let count = |text: &str| model.tokenize(text).unwrap().len() as u64;
        let mut session = model.session();
        session.score(&texts(&[SYSTEM, "one"]), &texts(&["a", "bc"])).unwrap();
        let first = count(SYSTEM) + count("one") + 1;
        assert_eq!(session.evaluated_tokens(), first);
        assert_eq!(session.fork().evaluated_tokens(), 0);
        session.score(&texts(&[SYSTEM, "one", "three"]), &texts(&["a"])).unwrap();
        assert_eq!(session.evaluated_tokens(), first + count("three"));
    }

    #[test]
    fn sentence_piece_adds_a_space_where_a_prompt_begins_and_behind_a_named_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::Toy::sentence_piece().unwrap().write(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        // The start token and `▁the`; `the`; `he`, `</s>`; nothing; `▁the`. Each option follows without a space of its own.
        let prompt = texts(&["the", "the", "he</s>", "", "the"]);
        for known in 0..=5 {
            let mut session = model.session();
            if known > 0 {
                session.prepare(&prompt[..known]).unwrap();
            }
            assert_eq!(session.evaluate(&prompt, 0).unwrap().0, 2 + 1 + 2 + 1, "{known} known");
            let scores = session.score(&prompt, &texts(&["the", " the", "he"])).unwrap();
            assert_eq!(scores.iter().map(|score| score.tokens).collect::<Vec<_>>(), [1, 1, 1]);
        }
        let [with, without] = ["he</s>", "he"].map(|end| model.session().evaluate(&texts(&[end, "the"]), 0).unwrap());
        assert_eq!((with.0, without.0), (5, 4));
    }

    #[test]
    fn options_side_by_side_do_not_see_each_other() {
        let (model, prompt) = (toy(), texts(&[SYSTEM, "Next: "]));
        // 40 times 9 to 11 tokens: more than one pass.
        let options: Vec<String> = OPTIONS.iter().cycle().take(40).map(|option| (*option).to_owned()).collect();
        let together = model.session().score(&prompt, &options).unwrap();
        for (option, together) in options.iter().zip(together) {
            let alone = model.session().score(&prompt, std::slice::from_ref(option)).unwrap()[0];
            assert_eq!(alone, together, "{option}");
        }
    }

    #[test]
    fn log_probabilities_chain_and_sum_to_one() {
        let model = toy();
        let mut session = model.session();
        let mut score = |prompt: &[&str], option: &str| session.score(&texts(prompt), &texts(&[option])).unwrap()[0];
        let whole = score(&["Next: "], "ab").logprob_sum;
        let parts = score(&["Next: "], "a").logprob_sum + score(&["Next: ", "a"], "b").logprob_sum;
        assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
        // All one-byte texts, the three special tokens and the seven merges are the whole vocabulary.
        let rest = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "th", "the", " the", "in", "er", "ov", "ovi"];
        let ascii = (0_u8..=127).map(|byte| char::from(byte).to_string());
        let all: Vec<String> = ascii.chain(rest.map(str::to_owned)).collect();
        let known: f64 = session.score(&texts(&["Next: "]), &all).unwrap().iter().map(|s| s.logprob_sum.exp()).sum();
        // The upper half of the bytes is no text by itself; its share is taken from the logits.
        let (_, last) = session.evaluate(&texts(&["Next: "]), 0).unwrap();
        let logits = model.decoder.logits(&last);
        let upper: f64 = (3 + 128..3 + 256).map(|id| logits.log_probability(0, id).exp()).sum();
        assert!((known + upper - 1.0).abs() < 1e-5, "{known} + {upper}");
    }

    #[test]
    fn a_reply_is_greedy_and_ends_at_the_stop() {
        let (model, prompt) = (toy(), texts(&[SYSTEM, "Say: "]));
        let mut session = model.session();
        let (_, last) = session.evaluate(&prompt, 0).unwrap();
        let evaluated = session.evaluated_tokens();
        let reply = session.reply(&prompt, 12, "").unwrap();
        assert!((1..12).contains(&(session.evaluated_tokens() - evaluated)));
        let best = model.decoder.logits(&last).argmax(0).unwrap();
        assert!(reply.starts_with(&model.tokenizer.decode(&[best]).unwrap()), "{reply:?}");
        let cut = reply.chars().last().unwrap().to_string();
        assert_eq!(session.reply(&prompt, 12, &cut).unwrap(), reply[..reply.find(&cut).unwrap()]);
        assert_eq!(session.reply(&prompt, 0, "").unwrap(), "");
    }

    #[test]
    fn what_does_not_fit_says_by_how_much() {
        let model = toy();
        let mut session = model.session();
        let error = session.score(&[".".repeat(8190)], &texts(&["abc"])).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the prompt has 8190 tokens and its longest continuation 3: 1 more than the context of toy holds (8192)"
            ),
            "{error}"
        );
        assert_eq!(session.evaluated_tokens(), 0);
        let error = session.score(&texts(&["a"]), &texts(&["b", ""])).unwrap_err().to_string();
        assert_eq!(error, "option 1 (\"\") has no token");
        assert_eq!(session.score(&[], &texts(&["b"])).unwrap_err().to_string(), "the prompt has no token");
        assert_eq!(session.score(&texts(&["a"]), &[]).unwrap_err().to_string(), "no option to score");
    }
}
