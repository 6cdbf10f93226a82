use super::*;

fn options(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

fn films() -> Vec<String> {
    options(&["Heat", "Dead Heat", "7 Years in Tibet", "12 Monkeys"])
}

/// What each reply names of `options`.
fn read(options: &[String], replies: &[(&str, Result<usize, NoChoice>)]) {
    for (reply, wanted) in replies {
        let found = parse_option(reply, options);
        assert_eq!(found.map(|parsed| parsed.option), *wanted, "{reply:?}");
        if let Ok(ParsedOption { at: Some(at), option }) = found {
            let label = letter(option).to_lowercase();
            let there =
                reply[at..].chars().next().map(|c| super::super::reply_words::fold(c).to_lowercase().to_string());
            let there = there.unwrap_or_default();
            assert!(there == label || (option + 1).to_string().starts_with(&there), "{reply:?}: {there} at {at}");
        }
    }
}

#[test]
fn a_label_in_any_dress() {
    let options = options(&["Casino", "Fargo", "Brazil", "Big"]);
    for form in [
        "B",
        "b",
        " B\n",
        "B.",
        "(B)",
        "**B**",
        "b.",
        "\"B\"",
        "B)",
        "[B]",
        "`B`",
        "```\nB\n```",
        "\u{ff22}",
        "Answer: B",
        "answer is B",
        "Answer: **B**",
        "**Answer:** B",
        "The answer is (B).",
        "Final answer: B.",
        "Option B",
        "option (B)",
        "I would choose option B.",
        "I pick B.",
        "I'd go with B.",
        "B. The Title",
        "B) The Title (1995)",
        "**B**: because it is light",
        "B - a light one",
        "B\nBecause it is light.",
        "{\"answer\": \"B\"}",
        "{\"answer\":\"B\",\"why\":\"A is dark\"}",
        "```json\n{\"choice\": \"B\"}\n```",
        "[\"B\"]",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "So it is \\boxed{B}.",
        "<answer>B</answer>",
        "[[B]]",
        "<think>\nA is nice but C\n</think>\n\nB",
        "A is nice but C\n</think>\n\nB",
        "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B",
        "A good choice is B.",
        "My recommendation would be option B",
        "Fargo",
        "fargo!",
        "I would recommend Fargo.",
        "B. Fargo",
        "The user likes crime, so the best is B.",
        "Casino is dark.\n\nB",
        "答案：B",
        "答案是B。",
        "Answer:\nB",
        "{\"option\": 2}",
        "2",
        "2.",
        "Option 2",
        "Between A and C there is little, but my answer: B",
        "Candidate 2: Fargo",
    ] {
        assert_eq!(parse_option(form, &options).map(|parsed| parsed.option), Ok(1), "{form:?}");
    }
}

#[test]
fn what_names_two_or_none_is_no_choice() {
    let options = options(&["Casino", "Fargo", "Brazil", "Big"]);
    for (reply, why) in [
        ("B, A", NoChoice::Several),
        ("A, B", NoChoice::Several),
        ("A or B", NoChoice::Several),
        ("A and B", NoChoice::Several),
        ("Answer: A or B", NoChoice::Several),
        ("Option A or B", NoChoice::Several),
        ("Either A or B would do.", NoChoice::Several),
        ("1. Alien\n2. Aliens", NoChoice::Several),
        ("A. Alien\nB. Aliens", NoChoice::Several),
        ("Casino or Fargo", NoChoice::Several),
        ("A: Fargo", NoChoice::Several),
        ("B. Casino", NoChoice::Several),
        ("\\boxed{A} or \\boxed{B}", NoChoice::Several),
        ("{\"answer\": [\"A\", \"B\"]}", NoChoice::Several),
        ("The answer is not B", NoChoice::Several),
        ("I would not recommend option B.", NoChoice::Several),
        ("", NoChoice::Nothing),
        ("**", NoChoice::Nothing),
        ("A good question", NoChoice::Nothing),
        ("I think it depends.", NoChoice::Nothing),
        ("E", NoChoice::Nothing),
        ("0", NoChoice::Nothing),
        ("5", NoChoice::Nothing),
        ("N/A", NoChoice::Nothing),
        ("none of them", NoChoice::Nothing),
        ("Neither A nor B", NoChoice::Nothing),
        ("Plan B", NoChoice::Nothing),
        ("Answer: A Bug's Life", NoChoice::Nothing),
        ("Rocky 3", NoChoice::Nothing),
        ("2 Fast 2 Furious", NoChoice::Nothing),
        ("There are 3 candidates.", NoChoice::Nothing),
        ("I would choose 3 films with 2 leads.", NoChoice::Nothing),
        ("It is the number 1 hit.", NoChoice::Nothing),
        ("Answer: 3 Idiots", NoChoice::Nothing),
        ("I rate it 4.5", NoChoice::Nothing),
        ("The answer is a film", NoChoice::Nothing),
        ("{\"answer\": null}", NoChoice::Nothing),
        ("{\"index\": 0}", NoChoice::Nothing),
        ("\u{410}", NoChoice::Nothing),
        ("<think>\nOkay B might", NoChoice::Thinking),
        ("<think>", NoChoice::Thinking),
    ] {
        assert_eq!(parse_option(reply, &options), Err(why), "{reply:?}");
    }
}

#[test]
fn titles_and_numbers() {
    read(
        &films(),
        &[
            ("2", Ok(1)),
            (" **3**.\n", Ok(2)),
            ("I recommend number 4!", Ok(3)),
            ("dead heat", Ok(1)),
            ("12 monkeys", Ok(3)),
            ("4. 12 Monkeys", Ok(3)),
            ("1) Heat", Ok(0)),
            ("2: yes, 2 of 9", Ok(1)),
            ("7 Years in Tibet", Ok(2)),
            ("I would show 7 Years in Tibet next.", Ok(2)),
            ("Answer: 12 Monkeys", Ok(3)),
            ("Heathers", Err(NoChoice::Nothing)),
        ],
    );
    let dated = options(&["Comedy 4 (1964)", "Drama 7 (1957)", "Drama 7 (1999)", "It", "A"]);
    read(
        &dated,
        &[
            ("Comedy 4", Ok(0)),
            ("I recommend Comedy 4.", Ok(0)),
            ("Drama 7 (1999)", Ok(2)),
            ("Drama 7", Err(NoChoice::Nothing)),
            ("I would not pick it", Err(NoChoice::Nothing)),
            ("It", Ok(3)),
            ("C: Drama 7 (1999)", Ok(2)),
        ],
    );
}

#[test]
fn where_a_label_stands() {
    let options = films();
    for (reply, at) in [
        ("**B**", 2),
        ("<think>A</think>\n\nB", 18),
        ("Answer: B", 8),
        ("{\"answer\": \"B\"}", 12),
        ("A good choice is B.", 17),
    ] {
        assert_eq!(parse_option(reply, &options), Ok(ParsedOption { option: 1, at: Some(at) }), "{reply}");
    }
    assert_eq!(parse_option("Dead Heat", &options), Ok(ParsedOption { option: 1, at: None }));
}
