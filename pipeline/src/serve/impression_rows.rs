//! From answers to rows of the log, with the probability of each item.
//!
//! A user belongs to a policy by a hash, which stands for a draw by the shares. So an item a is shown at place k with
//!
//! ```text
//! propensity = Σ_p share_p · P(p shows a at k | question)
//! ```
//!
//! (the mixture of Agarwal et al. 2017, arXiv 1703.06180, § 4). What the policies that did not answer would have shown is computed here,
//! behind the answer.

use std::sync::Arc;

use super::answered::Answered;
use super::options::Limits;
use super::policies::Loaded;
use crate::impressions::Impression;
use crate::recommend::{Explore, RecommendQuery, Recommended};

/// The answers to one request.
pub(super) struct Answers {
    /// In microseconds since 1970.
    pub time: i64,
    /// The policies as they were then.
    pub versions: Vec<Arc<Loaded>>,
    pub answered: Vec<Answered>,
}

impl Answers {
    /// Items shown.
    pub fn rows(&self) -> usize {
        self.answered.iter().map(|answered| answered.answer.items.len()).sum()
    }
}

/// What decides who answers, and what.
pub(super) struct Mixture {
    pub limits: Limits,
    pub shares: Vec<f64>,
    pub explore: Option<Explore>,
}

/// Questions that one version of a policy did not answer.
struct Others {
    policy: Arc<Loaded>,
    /// Place of the question, and the share of the users that the policy would have answered.
    questions: Vec<(usize, f64)>,
}

impl Mixture {
    /// One row an item shown, in the order of the answers.
    pub fn impressions(&self, shown: Vec<Answers>) -> Vec<Impression> {
        let questions: Vec<(&Answers, &Answered)> =
            shown.iter().flat_map(|answers| answers.answered.iter().map(move |answered| (answers, answered))).collect();
        let own = |answered: &Answered| match answered.answer.propensities.is_empty() {
            true => vec![1.0; answered.answer.items.len()],
            false => answered.answer.propensities.clone(),
        };
        let own: Vec<Vec<f64>> = questions.iter().map(|(_, answered)| own(answered)).collect();
        let mut mixed: Vec<Vec<f64>> = questions
            .iter()
            .zip(&own)
            .map(|((_, answered), own)| own.iter().map(|chance| chance * self.shares[answered.by]).collect())
            .collect();
        for others in self.others(&questions) {
            let asked: Vec<&Answered> = others.questions.iter().map(|&(place, _)| questions[place].1).collect();
            for (&(place, share), chances) in others.questions.iter().zip(self.chances(&others.policy, &asked)) {
                mixed[place].iter_mut().zip(chances).for_each(|(sum, chance)| *sum += share * chance);
            }
        }
        let rows = questions.iter().zip(own).zip(mixed);
        rows.flat_map(|(((answers, answered), own), mixed)| self.rows(answers, answered, &own, &mixed)).collect()
    }

    /// For each version of a policy the questions that another one answered.
    fn others(&self, questions: &[(&Answers, &Answered)]) -> Vec<Others> {
        let mut all: Vec<Others> = Vec::new();
        for (place, (answers, answered)) in questions.iter().enumerate() {
            for (by, (policy, &share)) in answers.versions.iter().zip(&self.shares).enumerate() {
                if by == answered.by || share == 0.0 {
                    continue;
                }
                match all.iter_mut().find(|others| Arc::ptr_eq(&others.policy, policy)) {
                    Some(others) => others.questions.push((place, share)),
                    None => all.push(Others { policy: policy.clone(), questions: vec![(place, share)] }),
                }
            }
        }
        all
    }

    /// The probability that a policy shows what was shown. A policy that refuses the question (it does not know an item of the history)
    /// shows nothing.
    fn chances(&self, policy: &Loaded, asked: &[&Answered]) -> Vec<Vec<f64>> {
        let query = |answered: &&Answered| RecommendQuery { place: None, ..answered.query.clone() };
        let items = |answered: &&Answered| answered.answer.items.iter().map(|item| item.id.clone()).collect();
        let batch = self.limits.batch(asked.iter().map(query).collect(), self.explore);
        let shown: Vec<Vec<String>> = asked.iter().map(items).collect();
        match (policy.policy.propensities(&batch, &shown), asked) {
            (Ok(chances), _) => chances,
            (Err(_), [one]) => vec![vec![0.0; one.answer.items.len()]],
            (Err(_), several) => several.iter().flat_map(|one| self.chances(policy, &[one])).collect(),
        }
    }

    fn rows(&self, answers: &Answers, answered: &Answered, own: &[f64], mixed: &[f64]) -> Vec<Impression> {
        let Answered { by, query, answer, id } = answered;
        let policy = &answers.versions[*by];
        let [answer_id, name, digest] =
            [id.as_deref().unwrap_or_default(), &policy.name, &policy.digest].map(Arc::<str>::from);
        let history: Arc<[String]> = query.history.clone().into();
        let row = |(k, item): (usize, &Recommended)| Impression {
            time: answers.time,
            answer_id: answer_id.clone(),
            user: answer.user.clone(),
            new_user: answer.new_user,
            history: history.clone(),
            restricted: !query.exclude.is_empty() || query.candidates.is_some(),
            policy: name.clone(),
            digest: digest.clone(),
            share: self.shares[*by],
            position: k as u32 + 1,
            item: item.id.clone(),
            policy_propensity: own[k],
            // Shares sum to 1 but for rounding.
            propensity: mixed[k].min(1.0),
        };
        answer.items.iter().enumerate().map(row).collect()
    }
}
