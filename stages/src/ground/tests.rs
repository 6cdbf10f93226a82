use super::*;

fn catalogue(titles: &[(&str, Option<i32>)]) -> Items {
    Items {
        id: (0..titles.len()).map(|row| row.to_string()).collect(),
        title: titles.iter().map(|title| title.0.to_owned()).collect(),
        year: titles.iter().map(|title| title.1).collect(),
        genres: vec![vec![]; titles.len()],
        ..Items::default()
    }
}

fn grounder(titles: &[&str], settings: MatchSettings) -> Grounder {
    Grounder::new(&catalogue(&titles.iter().map(|title| (*title, None)).collect::<Vec<_>>()), settings)
}

#[test]
fn the_first_step_that_finds_something_counts() {
    let grounder =
        grounder(&["darkest dungeon", "Darkest Dungeon®", "Crusader Kings II", "Braid"], MatchSettings::default());
    let found = |text: &str| {
        let Grounding { kind, nearest, ties, .. } = grounder.ground(text);
        (kind, nearest, ties)
    };
    assert_eq!(
        found("Darkest Dungeon®"),
        (MatchKind::Exact, Some(1), 1),
        "not the first with the same normalised title"
    );
    assert_eq!(found(" DARKEST DUNGEON "), (MatchKind::Normalised, Some(0), 2));
    assert_eq!(found("Crusader Kings III"), (MatchKind::Trigram, Some(2), 1));
    assert_eq!(found("Crusaders of Might and Magic"), (MatchKind::Unmatched, Some(2), 1));
    assert_eq!(found("Ωμέγα"), (MatchKind::Unmatched, None, 0));
    assert_eq!(found("  "), (MatchKind::Unmatched, None, 0));
}

#[test]
fn the_similarity_is_kept_and_the_threshold_is_inclusive() {
    let of = |trigram| grounder(&["ac"], MatchSettings { trigram, ..MatchSettings::default() }).ground("ab");
    assert!((of(0.2).similarity - 0.2).abs() < 1e-12);
    assert_eq!([of(0.2).kind, of(0.21).kind], [MatchKind::Trigram, MatchKind::Unmatched]);
    assert!((of(0.21).similarity - 0.2).abs() < 1e-12, "also returned below the threshold");
}

#[test]
fn of_two_items_of_one_title_the_first_counts_unless_a_year_says_otherwise() {
    let heat =
        [("Heat", Some(1986)), ("Heat", Some(1995)), ("Big (1988)", None), ("The Big", Some(2001)), ("Big", None)];
    let grounder = Grounder::new(&catalogue(&heat), MatchSettings::default());
    let found = |text: &str| {
        let Grounding { kind, nearest, ties, .. } = grounder.ground(text);
        (kind, nearest.unwrap(), ties)
    };
    assert_eq!(found("Heat"), (MatchKind::Exact, 0, 2));
    assert_eq!(found("heat"), (MatchKind::Normalised, 0, 2));
    assert_eq!(found("Heat (1995)"), (MatchKind::Normalised, 1, 1));
    assert_eq!(found("Heat (1996)"), (MatchKind::Normalised, 1, 1), "models get years wrong");
    assert_eq!(found("A Big (1988)"), (MatchKind::Normalised, 2, 1), "the year may stand in the title");
    assert_eq!(found("big"), (MatchKind::Normalised, 2, 3));
}

#[test]
fn what_has_no_title_is_found_by_its_description() {
    let mut coats = catalogue(&[("", None), ("", None)]);
    coats.genres = ["pea", "rain"].map(|genre| vec![genre.to_owned()]).to_vec();
    let grounding = Grounder::new(&coats, MatchSettings::default()).ground("Rain!");
    assert_eq!((grounding.kind, grounding.nearest), (MatchKind::Normalised, Some(1)));
}

#[test]
fn vectors_speak_where_titles_say_nothing() {
    let settings = MatchSettings { embedding: 0.7, ..MatchSettings::default() };
    let vectors = Array { shape: vec![2, 2], data: vec![1.0, 0.0, 0.0, 1.0] };
    let grounder = grounder(&["Heat", "Fargo"], settings).with_vectors(&vectors).unwrap();
    let found = |text: &str, vector: [f32; 2]| {
        let Grounding { kind, nearest, similarity, .. } = grounder.ground_with(text, &vector).unwrap();
        (kind, nearest, (similarity * 1e6).round() / 1e6)
    };
    assert_eq!(found("heat", [0.0, 1.0]), (MatchKind::Normalised, Some(0), 1.0));
    assert_eq!(found("snow and murder", [3.0, 4.0]), (MatchKind::Embedding, Some(1), 0.8));
    assert_eq!(found("something", [-1.0, 0.5]), (MatchKind::Unmatched, Some(1), 0.447_214));
    assert!(grounder.ground_with("something", &[1.0]).unwrap_err().to_string().contains("\nhelp: "));
    assert!(self::grounder(&["Heat"], MatchSettings::default()).with_vectors(&vectors).is_err());
}

#[test]
fn what_is_under_the_threshold_follows_the_policy() {
    let settled = |text: &str, on_unmatched| {
        let grounder = grounder(&["Braid"], MatchSettings { on_unmatched, ..MatchSettings::default() });
        grounder.resolve(text, &grounder.ground(text)).map_err(|refused| refused.to_string())
    };
    assert_eq!(settled("Bread", OnUnmatched::Drop), Ok(None));
    assert_eq!(settled("Bread", OnUnmatched::Nearest), Ok(Some(0)));
    assert_eq!(settled("?", OnUnmatched::Nearest), Ok(None));
    let near = settled("Bread", OnUnmatched::Refuse).unwrap_err();
    assert_eq!(near, r#"the name "Bread" (the most similar title, "Braid", has similarity 0.20)"#);
    let far = settled("\u{1b}[2Jé", OnUnmatched::Refuse).unwrap_err();
    assert_eq!(far, r#"the name "\u{1b}[2Jé" (no title shares a trigram with it)"#);
    for policy in [OnUnmatched::Drop, OnUnmatched::Nearest, OnUnmatched::Refuse] {
        assert_eq!(settled("braid", policy), Ok(Some(0)));
    }
}

#[test]
fn many_texts_are_grounded_as_one_by_one() {
    let grounder = grounder(&["Braid", "Portal", "Portal 2"], MatchSettings::default());
    let texts = ["portal", "Portal 3", "x", "portal", "Braid"];
    let all = grounder.ground_all(texts);
    assert_eq!(all.len(), 4);
    assert!(texts.iter().all(|text| all[text] == grounder.ground(text)));
}
