//! What every provider must do, whatever it is.

use super::{Llm, Request, Writing};

/// A request about `Next:`.
pub(crate) fn request(context: &[&str], options: &[&str]) -> Request {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Request { context: owned(context), cue: "Next:".into(), options: owned(options) }
}

/// Panics where `llm` breaks the contract. It must answer every request in here.
pub(crate) fn conforms(llm: &dyn Llm) {
    let identity = llm.identity();
    assert!(!identity.is_empty() && identity == llm.identity(), "an identity that stays");
    assert_ne!(llm.at_once(), Some(0));

    let opening = "You recommend movies.\n";
    let players = llm.players(opening).unwrap();
    let options = ["Fargo", "Toy Story", "Brazil"];
    let first = request(&[opening, "The user likes Alien.\n"], &options);
    let second = request(&[opening, "The user likes Alien.\n", "Fargo: rated 4\n"], &options[1..]);
    let other = request(&[opening, "The user likes Heat.\n"], &options);

    // A conversation does not depend on the others, nor on what it was asked before.
    let alone: Vec<String> =
        [&first, &second, &other].iter().map(|request| players().ask(request).unwrap().text).collect();
    let mut two_players = [players(), players()];
    for (player, request, expected) in [
        (0, &first, &alone[0]),
        (1, &other, &alone[2]),
        (0, &second, &alone[1]),
        (1, &first, &alone[0]),
        (0, &first, &alone[0]),
    ] {
        assert_eq!(&two_players[player].ask(request).unwrap().text, expected);
    }

    let [mut one, _] = two_players;
    let first_answer = &alone[0];
    for (request, answer) in [&first, &second, &other].into_iter().zip(&alone) {
        let references = llm.references(request);
        for reference in &references {
            assert!(reference.context.is_empty() && reference.options.len() == 1 && reference.cue == request.cue);
            assert!(llm.references(request).contains(reference), "references that stay");
        }
        let answers: Vec<String> = references.iter().map(|reference| one.ask(reference).unwrap().text).collect();
        let reading = llm.read(request, answer, &answers).unwrap();
        assert!(reading.index.is_some_and(|index| index < request.options.len()), "{answer} names an option");
        assert!(reading.scores.is_empty() || reading.scores.len() == request.options.len());
        assert!(reading.scores.iter().all(|score| score.is_finite()));
        assert_eq!(llm.read(request, answer, &answers).unwrap(), reading);
    }
    assert_eq!(llm.references(&first)[..], llm.references(&other)[..], "references do not depend on the conversation");

    assert!(one.ask(&request(&[opening], &[])).is_err(), "nothing to choose from");
    assert!(llm.read(&first, "", &[]).map_or(true, |reading| reading.index.is_none()), "silence is no choice");

    // Writing neither disturbs a conversation nor depends on it.
    let writing = |temperature: f64, draw: u64| Writing {
        context: vec![opening.to_owned(), "The user likes Alien.\n".to_owned()],
        cue: "Thought:".to_owned(),
        max_tokens: 8,
        stop: "\n".to_owned(),
        temperature,
        draw,
        integer: None,
    };
    for writing in [writing(0.0, 0), writing(0.5, 0), writing(0.5, 1)] {
        let alone = players().write(&writing).unwrap().text;
        assert_eq!(one.write(&writing).unwrap().text, alone);
        assert_eq!(one.ask(&first).unwrap().text, *first_answer);
        let text = llm.written(&alone).unwrap();
        assert!(!text.contains('\n') && text.trim() == text, "{text:?}");
    }
    let number = Writing { integer: Some((-5, 5)), ..writing(0.5, 0) };
    let text = llm.written(&one.write(&number).unwrap().text).unwrap();
    assert!(text.parse().is_ok_and(|number: i32| (-5..=5).contains(&number)), "{text:?}");
    assert!(llm.written("").is_err(), "silence is no answer of a provider");
}
