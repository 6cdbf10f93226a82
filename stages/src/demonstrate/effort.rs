//! What each episode took: its calls and their tokens, as requests and answers alone decide them. Time and money are the run
//! record's business.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::episode::Played;
use crate::artifact::{Call, Effort, Efforts};
use crate::llm::{Llm, Tokens};

/// The efforts of episodes in their order. A call that several of them used counts with the first of them. One that failed is
/// a call without tokens. Vectors of texts are no calls.
pub(super) fn efforts(played: &[Played], llm: &dyn Llm) -> Result<Efforts> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let effort = |played: &Played, new: Vec<&Call>| -> Result<Effort> {
        let mut tokens = Some(Tokens::default());
        for call in &new {
            let counted = match call.failure {
                Some(_) => Some(Tokens::default()),
                None => llm
                    .tokens(&call.request, &call.answer)
                    .with_context(|| format!("count the tokens of call {}", call.key))?,
            };
            tokens = tokens.zip(counted).map(|(sum, new)| sum + new);
        }
        Ok(Effort {
            user: played.trajectory.user,
            calls: new.len() as u32,
            tokens_read: tokens.map(|tokens| tokens.read),
            tokens_written: tokens.map(|tokens| tokens.written),
        })
    };
    let mut efforts = Vec::new();
    for played in played {
        let new = played.calls.iter().map(|call| &**call).filter(|call| seen.insert(&call.key)).collect();
        efforts.push(effort(played, new)?);
    }
    Ok(Efforts(efforts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::artifact::{End, Failure, Trajectory};
    use crate::llm::{Players, Reading, Request};

    /// Reads a token a byte of the question and writes one a byte of the answer; says nothing of an empty answer.
    struct ByBytes;

    impl Llm for ByBytes {
        fn identity(&self) -> String {
            "bytes".into()
        }
        fn at_once(&self) -> Option<usize> {
            None
        }
        fn players<'a>(&'a self, _: &str) -> Result<Players<'a>> {
            anyhow::bail!("asked to play")
        }
        fn references(&self, _: &Request) -> Vec<Request> {
            vec![]
        }
        fn read(&self, _: &Request, _: &str, _: &[String]) -> Result<Reading> {
            anyhow::bail!("asked to read")
        }
        fn written(&self, answer: &str) -> Result<String> {
            Ok(answer.to_owned())
        }
        fn tokens(&self, request: &str, answer: &str) -> Result<Option<Tokens>> {
            let tokens = Tokens { read: request.len() as u64, written: answer.len() as u64 };
            Ok((!answer.is_empty()).then_some(tokens))
        }
    }

    fn call(request: &str, answer: &str, failed: bool) -> Arc<Call> {
        let failure = failed.then(|| Failure { status: None, reason: "gone".into() });
        let (key, model) = (request.to_owned(), "bytes".into());
        Arc::new(Call { key, model, request: request.into(), answer: answer.into(), failure })
    }

    fn played(user: u32, calls: &[&Arc<Call>]) -> Played {
        let trajectory = Trajectory { user, steps: vec![], end: End::Horizon };
        let calls = calls.iter().map(|call| Arc::clone(call)).collect();
        Played { trajectory, calls, unread: None, unvalued: 0, memories: vec![] }
    }

    #[test]
    fn each_call_counts_once_and_a_failed_one_has_no_tokens() {
        let [asked, other] = [call("1234", "ab", false), call("123456", "a", false)];
        let [gone, silent] = [call("12", "half an answer", true), call("1", "", false)];
        let all = [
            played(3, &[&asked, &gone, &asked]),
            played(1, &[&asked, &other]),
            played(2, &[&silent]),
            played(0, &[&other]),
        ];
        let effort = |user, calls, tokens: Option<(u64, u64)>| Effort {
            user,
            calls,
            tokens_read: tokens.map(|tokens| tokens.0),
            tokens_written: tokens.map(|tokens| tokens.1),
        };
        let expected =
            [effort(3, 2, Some((4, 2))), effort(1, 1, Some((6, 1))), effort(2, 1, None), effort(0, 0, Some((0, 0)))];
        assert_eq!(efforts(&all, &ByBytes).unwrap().0, expected);
    }
}
