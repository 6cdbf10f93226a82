//! The glossary: terms, and the meaning of each row and metric of the table.
//!
//! Where a term is first used on the page, it is linked to what stands here; see [`link`](crate::report::render::link).

use crate::report::table::row::{Role, Row};

/// A word of the page with its meaning.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct Term {
    /// What the page's address of it ends with.
    pub id: &'static str,
    /// Its heading.
    pub term: &'static str,
    /// How it is written in sentences; the first of them on the page leads here.
    pub words: &'static [&'static str],
    pub text: &'static str,
}

const fn term(id: &'static str, term: &'static str, words: &'static [&'static str], text: &'static str) -> Term {
    Term { id, term, words, text }
}

/// Terms that every report needs, in the order in which a reader meets them.
pub(in crate::report) const TERMS: &[Term] = &[
    term(
        "return",
        "Return",
        &["return", "returns"],
        "The sum of rewards over one episode. The inclusive return counts the reward of the step at which the user quits, the \
         exclusive return does not; both conventions are in use in the literature. Verdict and figures use the inclusive return.",
    ),
    term(
        "episode",
        "Episode, step and horizon",
        &["episode", "episodes", "horizon"],
        "An episode is one session of one simulated user. At each step the policy recommends one item; the user gives a reward and \
         continues or quits. The horizon is the maximum number of steps.",
    ),
    term(
        "evaluation-world",
        "Evaluation world",
        &["evaluation world"],
        "The simulated users in which every row is evaluated: a reward for each user and item, and the quit rule. No policy may \
         have learned from it. All returns on this page are returns in this world, not feedback of real users.",
    ),
    term(
        "training-world",
        "Training world",
        &["training world", "training worlds"],
        "The simulated users with which policies were trained, fitted to the training part of the log. Its error is the \
         difference between its rewards and those of the evaluation world.",
    ),
    term(
        "quit-rule",
        "Quit rule; quit-aware",
        &["quit rule", "quit rules", "quit-aware"],
        "A user quits at an item that is too similar to a recent one, at an item of low reward, or at an item of a category shown \
         too often. Quit-aware rows recommend only items that do not trigger the rule.",
    ),
    term(
        "distances",
        "Item distances",
        &["item distances", "distances"],
        "The distance between any two items in a world. The similarity part of the quit rule uses them: whoever knows the \
         distances knows when users quit.",
    ),
    term(
        "privileged",
        "Privileged",
        &["privileged"],
        "Uses information of the evaluation world that a deployed policy does not have: its item distances, which determine when \
         users quit, or its rewards. A privileged row is a reference, not a competitor.",
    ),
    term(
        "baseline",
        "Baseline",
        &["baseline", "baselines"],
        "A row that the evaluation adds to every table, as a reference for the returns of the policies.",
    ),
    term(
        "learned",
        "Learned and untrained policies",
        &["learned policy", "learned policies", "untrained", "untrained policies"],
        "A learned policy is the result of training; its row combines its training seeds. An untrained policy has its initial \
         parameters: it shows what the initialisation returns and does not count as learned.",
    ),
    term(
        "teacher",
        "Teacher and demonstrations",
        &["teacher", "teachers", "language model", "language models", "demonstrations"],
        "The language model that recommends by itself. Its episodes are the demonstrations from which policies may learn.",
    ),
    term(
        "retriever",
        "Retriever and candidates",
        &["retriever", "candidates"],
        "The retriever ranks the catalogue for each user from the training log. The language model chooses among the first items \
         of that list, its candidates.",
    ),
    term(
        "each",
        "Reward per step and length",
        &["reward per step", "length"],
        "Reward per step is the sum of all rewards divided by the sum of all lengths; its product with the mean length is the mean \
         return. It separates how much users like the items from how long they stay.",
    ),
    term(
        "ends",
        "How episodes end",
        &["episodes end by"],
        "“horizon”: the episode reached the maximum number of steps. “too similar”, “low reward” and “too much of a category”: the \
         user quit by that part of the quit rule. “left, no reason known”: the episode was recorded elsewhere. Quitting at the last \
         step costs nothing, so planners end there on the item of highest reward; the table counts that as “horizon”, while `end_…` \
         in the metrics file names the rule.",
    ),
    term(
        "coverage",
        "Coverage and distinct items",
        &["coverage", "distinct items"],
        "Coverage is the share of the catalogue that was recommended at least once. Distinct items is the mean number of different \
         items per episode.",
    ),
    term(
        "interval",
        "95 % interval",
        &["95 % interval", "95 % intervals", "interval", "intervals"],
        "The interval of the mean over seeds and users, in brackets: of Student's t, unless the evaluation resamples. Intervals that do not overlap indicate \
         a difference; overlapping intervals do not show that there is none. Where nothing varies, only the mean is printed.",
    ),
    term(
        "same-users",
        "Paired by user; Holm’s correction",
        &["same users", "paired by user", "Holm’s correction"],
        "A paired difference is taken user by user, which removes the variance between users. A difference is significant if its \
         95 % interval excludes zero and its p-value stays below 5 % after Holm’s correction over all differences of the table. The \
         probability of improvement is the share of pairs of runs with the same user that the row wins, ties counted half.",
    ),
    term(
        "seeds",
        "Seeds",
        &["seed", "seeds", "training seeds"],
        "Training runs that differ only in their random seed. Results of one algorithm often vary more between seeds than between \
         algorithms; with fewer than five seeds the interval describes the runs rather than the algorithm.",
    ),
];

/// What a row does, for the names that an evaluation gives; other rows are described by their remark.
pub(in crate::report) fn meaning(row: &Row) -> Option<&'static str> {
    Some(match (row.role, row.name.as_str()) {
        (Role::Teacher, _) => "The language model, evaluated in the evaluation world.",
        (Role::Untrained, _) => {
            "A policy with its initial parameters. The difference between a trained policy and this row was learned."
        }
        (Role::WithoutRepeats, _) => {
            "The policies of the row above, evaluated without repeating an item within an episode: as `recommend \
             --exclude-history` serves them."
        }
        (_, "random") => "Recommends uniformly at random.",
        (_, "random quit-aware") => "Recommends uniformly at random among the items that do not trigger the quit rule.",
        (_, "popular quit-aware") => {
            "Recommends the item with the best mean rating in the training log among those that do not trigger the quit rule. It \
             is not personalised; a learned policy must exceed it to be worth its training."
        }
        (_, "popular cycle") => {
            "Recommends a few popular items in turn, one more than users remember. It knows no quit rule: it shows what variety \
             without preference returns."
        }
        (_, "constant reward") => {
            "An actor-critic with default settings and a reward of 1 for every step: the return of keeping users alone. A policy \
             that does not exceed it has learned no preference."
        }
        (_, "greedy oracle") => {
            "Recommends the item with the highest reward in the evaluation world that does not trigger the quit rule. It does not \
             plan ahead, so it is not an upper bound."
        }
        (_, "planning oracle") => {
            "Plans whole episodes with the rewards and distances of the evaluation world. Its remark says for how many users the \
             plan is proven optimal: the upper end of the table."
        }
        (_, name) if name.starts_with("plan of ") => {
            "Follows the optimal plan of a fitted world, without learning. Its difference from the planning oracle is the error of \
             that world."
        }
        (_, "retriever top-1") => {
            "Recommends the first candidate of the retriever. The difference between the language model and this row is the effect \
             of its choices."
        }
        (_, "bc" | "behaviour cloning") => "Behaviour cloning: imitates the demonstrations, without reward.",
        _ => return None,
    })
}

/// What a measure beyond the table's own columns is.
pub(in crate::report) fn measure(name: &str) -> Option<&'static str> {
    Some(match name {
        "coverage_per_step" => "Different items over all episodes of a seed, per step.",
        "diversity" => {
            "Mean of 1 − 1/(1 + distance) over the pairs of items of an episode: 0 where all items are equal."
        }
        "gap" => "Return in the training world less return in the evaluation world, for the same episodes.",
        "length_exclusive" => "Steps after which the user continued.",
        "novelty" => "Mean of −ln of the item’s share of the training log: higher for rarer items.",
        "lead_over_popular" => "Return less that of popular quit-aware, paired by user.",
        "lead_over_retriever" => "Return less that of retriever top-1, paired by user.",
        "lead_over_teacher" => "Return less that of the best language model, on its users and steps.",
        "repeat_rate" => "Share of steps that repeat an item of the episode.",
        "return_bound" => "Upper bound of the return of any policy in the evaluation world.",
        "return_iqm" => "Mean return without the lowest and the highest quarter of all runs (users and seeds).",
        "return_teacher_users" => "Return on the users and steps that all language models share.",
        "return_training_world" => "Return of the same episodes in the training world.",
        "reward_per_step_exclusive" => "Reward per step without the steps at which users quit.",
        "top_category" => "Share of an episode’s steps in its most frequent category.",
        "untrained" => "Share of the row’s policies that have their initial parameters.",
        "world_correlation" => {
            "Pearson’s r between the rewards of the planning world and of the evaluation world over a user’s items."
        }
        "world_rmse" => {
            "Root mean squared difference between the rewards of the planning world and of the evaluation world."
        }
        "calls" => "Requests to the language model per episode.",
        "prompt_tokens" => "Prompt tokens per episode.",
        "completion_tokens" => "Completion tokens per episode.",
        _ => return None,
    })
}

/// What a series of a learning curve is, whichever member of an ensemble it is of.
pub(in crate::report) fn series(name: &str) -> Option<&'static str> {
    let name = name.split_once(".member").map_or(name, |(name, _)| name);
    Some(match name {
        "return" => {
            "Mean return of the episodes of an update: the sum of the world’s rewards, without a penalty for leaving."
        }
        "length" => "Mean length of these episodes.",
        "entropy" => {
            "Entropy of the policy (nats): 0 for a deterministic policy, ln of the catalogue size for a uniform one."
        }
        "entropy_bonus" => "Mean product of normalised advantage and entropy of a step (nats), without its weight.",
        "entropy_bonus_share" => "Share of steps whose product of advantage and entropy is not 0.",
        "entropy_bonus_cut" => "Share of steps whose normalised advantage lies beyond ±3 and is cut.",
        "entropy_bonus_correlation" => {
            "Pearson’s r between that product and the step’s discounted return less the mean of its turn."
        }
        "shaping_ratio" => {
            "Mean size of what a memory adds to the advantage of a step, ξ·|U|, over that of the advantage, |Â|: 0 once its weight has \
             decayed."
        }
        "utility" => "Mean utility U of a step by its best match in the memory, between 0 and 1.",
        "utility_share" => "Share of steps that match a node of the memory.",
        "utility_correlation" => {
            "Pearson’s r between the utility and the step’s discounted return less the mean of its turn."
        }
        "memory_nodes" => "Trajectory nodes of the memory.",
        "memory_agent_nodes" => "Trajectory nodes that the agent’s own good episodes added.",
        "kl_coef" => "λ: coefficient of the divergence from the reference policy.",
        "reference_kl" => "Mean KL divergence of the policy from the reference policy (nats).",
        "reference_kl_share" => "Share of states with a divergence above 0.001 nats.",
        "reference_correlation" => {
            "Pearson’s r between ln of the reference policy’s probability of an action and the step’s discounted return less the mean of its turn."
        }
        "served_agreement" => {
            "Share of states in which the item of the highest Q, which is served, is also the most likely one of the policy that learns."
        }
        "frozen_share" => "Share of the frozen policy in a mixture.",
        "value_error" => "Mean squared error of the critic against its targets.",
        "distribution_loss" => "Cross-entropy of the predicted distribution of returns.",
        "conservative_loss" => "By how much the values of actions outside the data exceed those of the data.",
        "imitation_loss" | "imitation" => "Mean −ln of the policy’s probability of the demonstrated action.",
        "mean_weight" => "Mean weight of a demonstrated step in the loss.",
        "heaviest_weight" => "Largest weight of a demonstrated step.",
        "demonstrated_share" => "Share of demonstrated steps in an update.",
        "groups_dropped" => "Share of groups whose sessions all returned the same, from which nothing is learned.",
        "success_rate" => "Mean share of good sessions in the groups that are learned from.",
        "probability_ratio" => {
            "Mean ratio of a step’s probability under the policy and under the one that it began from."
        }
        "credit" => "Mean size of the loss’s derivative in a step’s log-probability.",
        "credit_correlation" => {
            "Pearson’s r between that derivative, with its sign turned, and the step’s return less the mean of its turn."
        }
        "credited_share" => "Share of steps at which this derivative is not 0.",
        "preference_loss" => "Mean −ln of the probability of a pair’s order; ln 2 = 0.69 at the reference policy.",
        "pair_accuracy" => {
            "Share of an update’s pairs whose better side the policy prefers more than the reference does."
        }
        "heldout_pair_accuracy" => "The same of pairs of users from whom nothing was learned; 0.5 is chance.",
        "pair_margin" => "Mean difference of the two sides’ log-odds against the reference policy.",
        "pair_weight" => "Mean share of a pair’s first gradient that is left.",
        "gradient_steps" => "Optimiser steps per iteration; fewer after early stopping.",
        "discriminator_loss" => "Binary cross-entropy of the discriminator; ln 2 = 0.69 at chance.",
        "accuracy" => "Accuracy of the discriminator; 0.5 is chance.",
        "demonstrated_reward" => "Mean learned reward of demonstrated steps.",
        "generated_reward" => "Mean learned reward of the generator’s steps.",
        "generator_return" => "Mean return of the generator.",
        "generator_length" => "Mean length of the generator’s episodes.",
        "reward_scale" => "Divisor of the learned reward.",
        "rmse.train" => "Root mean squared error on the training ratings, over an epoch.",
        "rmse.holdout" => "Root mean squared error on held-out ratings.",
        "nll.holdout" => "Mean negative log-likelihood of held-out ratings (nats).",
        "rmse.holdout.world" | "mae.holdout.world" | "nll.holdout.world" | "rmse.holdout.world.ips" => {
            "Error of the world’s reward, the mean of its models, on held-out ratings."
        }
        _ => return None,
    })
}
