//! The contract that every provider must fulfil.

use super::{ChoiceRequest, CompletionRequest, Llm};

/// A request about `Next:`.
pub(crate) fn request(context: &[&str], options: &[&str]) -> ChoiceRequest {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    ChoiceRequest { context: owned(context), completion_prefix: "Next:".into(), options: owned(options) }
}

/// Panics where `llm` violates the contract. It must answer every request in here.
pub(crate) fn conforms(llm: &dyn Llm) {
    let identity = llm.identity();
    assert!(!identity.is_empty() && identity == llm.identity(), "a stable identity");
    assert_ne!(llm.max_concurrency(), Some(0));

    let opening = "You recommend movies.\n";
    let conversations = llm.conversations(opening).unwrap();
    let options = ["Fargo", "Toy Story", "Brazil"];
    let first = request(&[opening, "The user likes Alien.\n"], &options);
    let second = request(&[opening, "The user likes Alien.\n", "Fargo: rated 4\n"], &options[1..]);
    let other = request(&[opening, "The user likes Heat.\n"], &options);

    // A conversation does not depend on the others, nor on what it was asked before.
    let alone: Vec<String> =
        [&first, &second, &other].iter().map(|request| conversations().choose(request).unwrap().text).collect();
    let mut two_conversations = [conversations(), conversations()];
    for (conversation, request, expected) in [
        (0, &first, &alone[0]),
        (1, &other, &alone[2]),
        (0, &second, &alone[1]),
        (1, &first, &alone[0]),
        (0, &first, &alone[0]),
    ] {
        assert_eq!(&two_conversations[conversation].choose(request).unwrap().text, expected);
    }

    let [mut one, _] = two_conversations;
    let first_answer = &alone[0];
    for (request, answer) in [&first, &second, &other].into_iter().zip(&alone) {
        let references = llm.references(request);
        for reference in &references {
            assert!(
                reference.context.is_empty()
                    && reference.options.len() == 1
                    && reference.completion_prefix == request.completion_prefix
            );
            assert!(llm.references(request).contains(reference), "stable references");
        }
        let answers: Vec<String> = references.iter().map(|reference| one.choose(reference).unwrap().text).collect();
        let reading = llm.parse_choice(request, answer, &answers).unwrap();
        assert!(reading.index.is_some_and(|index| index < request.options.len()), "{answer} names an option");
        assert!(reading.scores.is_empty() || reading.scores.len() == request.options.len());
        assert!(reading.scores.iter().all(|score| score.is_finite()));
        assert_eq!(llm.parse_choice(request, answer, &answers).unwrap(), reading);
        let logprobs = llm.option_logprobs(request, answer).unwrap();
        let is_logprob = |logprob: &f64| logprob.is_finite() && *logprob <= 0.0;
        assert!(logprobs.is_none_or(|all| all.len() == request.options.len() && all.iter().all(is_logprob)));
    }
    assert_eq!(llm.references(&first)[..], llm.references(&other)[..], "references do not depend on the conversation");

    assert!(one.choose(&request(&[opening], &[])).is_err(), "nothing to choose from");
    assert!(
        llm.parse_choice(&first, "", &[]).map_or(true, |reading| reading.index.is_none()),
        "an empty answer is no choice"
    );

    // Completions neither change a conversation nor depend on it.
    let completion = |temperature: f64, draw: u64| CompletionRequest {
        context: vec![opening.to_owned(), "The user likes Alien.\n".to_owned()],
        completion_prefix: "Thought:".to_owned(),
        max_tokens: 8,
        stop: "\n".to_owned(),
        temperature,
        draw,
        integer: None,
    };
    for completion in [completion(0.0, 0), completion(0.5, 0), completion(0.5, 1)] {
        let alone = conversations().complete(&completion).unwrap().text;
        assert_eq!(one.complete(&completion).unwrap().text, alone);
        assert_eq!(one.choose(&first).unwrap().text, *first_answer);
        let text = llm.completion_text(&alone).unwrap();
        assert!(!text.contains('\n') && text.trim() == text, "{text:?}");
    }
    let number = CompletionRequest { integer: Some((-5, 5)), ..completion(0.5, 0) };
    let text = llm.completion_text(&one.complete(&number).unwrap().text).unwrap();
    assert!(text.parse().is_ok_and(|number: i32| (-5..=5).contains(&number)), "{text:?}");
    assert!(llm.completion_text("").is_err(), "an empty answer is invalid");
}
