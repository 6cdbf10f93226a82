//! The usage of a language model by user: calls and their tokens, as functions of requests and answers alone. Time and cost belong to
//! the run record.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Llm, TokenUsage};
use crate::artifact::{Call, EpisodeUsage, Failure, LlmUsage};

/// The usage of episodes or sessions in their order, each of a user and its calls. A call that several used counts with the first one.
/// A refused call has no tokens; the tokens of a call that failed otherwise are those that its answer reports, else unknown, because it
/// may have been billed. Embeddings are not counted as calls.
pub(crate) fn usage_by_user<'a>(
    played: impl IntoIterator<Item = (u32, &'a [Arc<Call>])>,
    llm: &dyn Llm,
) -> Result<LlmUsage> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let usage = |user: u32, new: Vec<&Call>| -> Result<EpisodeUsage> {
        let mut tokens = Some(TokenUsage::default());
        for call in &new {
            let counted = match &call.failure {
                Some(Failure { status: Some(status), .. }) if *status != 200 => Some(TokenUsage::default()),
                // Only the beginning of an invalid answer may be stored, which reports no tokens.
                Some(_) => llm.count_tokens(&call.request, &call.answer).ok().flatten(),
                None => llm
                    .count_tokens(&call.request, &call.answer)
                    .with_context(|| format!("count the tokens of call {}", call.key))?,
            };
            tokens = tokens.zip(counted).map(|(sum, new)| sum + new);
        }
        Ok(EpisodeUsage {
            user,
            calls: new.len() as u32,
            prompt_tokens: tokens.map(|tokens| tokens.prompt),
            completion_tokens: tokens.map(|tokens| tokens.completion),
        })
    };
    let mut rows = Vec::new();
    for (user, calls) in played {
        rows.push(usage(user, calls.iter().map(|call| &**call).filter(|call| seen.insert(&call.key)).collect())?);
    }
    Ok(LlmUsage(rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChoiceRequest, ConversationFactory, ParsedChoice};

    /// Reads a token a byte of the question and writes one a byte of the answer; says nothing of an empty answer.
    struct ByBytes;

    impl Llm for ByBytes {
        fn identity(&self) -> String {
            "bytes".into()
        }
        fn max_concurrency(&self) -> Option<usize> {
            None
        }
        fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
            anyhow::bail!("asked to play")
        }
        fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
            vec![]
        }
        fn parse_choice(&self, _: &ChoiceRequest, _: &str, _: &[String]) -> Result<ParsedChoice> {
            anyhow::bail!("asked to read")
        }
        fn completion_text(&self, answer: &str) -> Result<String> {
            Ok(answer.to_owned())
        }
        fn count_tokens(&self, request: &str, answer: &str) -> Result<Option<TokenUsage>> {
            let tokens = TokenUsage { prompt: request.len() as u64, completion: answer.len() as u64 };
            Ok((!answer.is_empty()).then_some(tokens))
        }
    }

    fn call(request: &str, answer: &str, failed: Option<u16>) -> Arc<Call> {
        let failure = failed.map(|status| Failure { status: Some(status), reason: "gone".into() });
        let (key, model) = (request.to_owned(), "bytes".into());
        Arc::new(Call { key, model, request: request.into(), answer: answer.into(), failure })
    }

    fn played(user: u32, calls: &[&Arc<Call>]) -> (u32, Vec<Arc<Call>>) {
        (user, calls.iter().map(|call| Arc::clone(call)).collect())
    }

    #[test]
    fn each_call_counts_once_and_a_failed_one_as_far_as_it_tells() {
        let [asked, other] = [call("1234", "ab", None), call("123456", "a", None)];
        let [refused, silent] = [call("12", "no such model", Some(404)), call("1", "", None)];
        // Answered and billed, but no answer; one tells what it took.
        let [empty, cut] = [call("123", "abcd", Some(200)), call("12345", "", Some(200))];
        let all = [
            played(3, &[&asked, &refused, &asked]),
            played(1, &[&asked, &other]),
            played(2, &[&silent]),
            played(0, &[&other]),
            played(4, &[&empty]),
            played(5, &[&cut]),
        ];
        let usage = |user, calls, tokens: Option<(u64, u64)>| EpisodeUsage {
            user,
            calls,
            prompt_tokens: tokens.map(|tokens| tokens.0),
            completion_tokens: tokens.map(|tokens| tokens.1),
        };
        let expected = [
            usage(3, 2, Some((4, 2))),
            usage(1, 1, Some((6, 1))),
            usage(2, 1, None),
            usage(0, 0, Some((0, 0))),
            usage(4, 1, Some((3, 4))),
            usage(5, 1, None),
        ];
        assert_eq!(
            usage_by_user(all.iter().map(|(user, calls)| (*user, calls.as_slice())), &ByBytes).unwrap().0,
            expected
        );
    }
}
