//! What columns are called in logs, by the role that they play, and how well a name fits.

/// Names of columns of users. A name also fits where one of its words does (`customer_id`).
pub(super) const USER: &[&str] = &[
    "user",
    "userid",
    "uid",
    "u",
    "reviewer",
    "reviewerid",
    "customer",
    "visitor",
    "member",
    "account",
    "player",
    "profile",
    "listener",
    "reader",
    "person",
    "patron",
    "viewer",
    "steamid",
    "username",
    "author",
    "who",
    "client",
    "session",
];

/// Names of columns of items.
pub(super) const ITEM: &[&str] = &[
    "item",
    "itemid",
    "iid",
    "i",
    "movie",
    "film",
    "product",
    "parentasin",
    "asin",
    "sku",
    "article",
    "track",
    "song",
    "artist",
    "book",
    "isbn",
    "business",
    "video",
    "game",
    "appid",
    "app",
    "recipe",
    "anime",
    "joke",
    "venue",
    "poi",
    "news",
    "content",
    "show",
    "what",
    "title",
    "post",
    "photo",
    "course",
];

/// Names of columns of ratings.
pub(super) const RATING: &[&str] = &[
    "rating",
    "ratings",
    "stars",
    "star",
    "score",
    "overall",
    "grade",
    "reviewscore",
    "preference",
    "like",
    "liked",
    "recommend",
    "r",
    "clicked",
    "click",
    "purchased",
    "bought",
];

/// Names of columns of how much or how often.
pub(super) const AMOUNT: &[&str] = &[
    "count",
    "plays",
    "playcount",
    "hours",
    "minutes",
    "seconds",
    "playtime",
    "listens",
    "duration",
    "watchratio",
    "watchtime",
    "clicks",
    "quantity",
    "views",
    "purchases",
    "weight",
    "amount",
    "times",
];

/// Names of columns of times.
pub(super) const TIME: &[&str] = &[
    "timestamp",
    "ts",
    "datetime",
    "date",
    "time",
    "unixreviewtime",
    "reviewtime",
    "eventtime",
    "createdat",
    "created",
    "at",
    "when",
    "day",
    "t",
    "position",
    "order",
    "visited",
];

/// All of them.
pub(super) const KNOWN_NAMES: [&[&str]; 5] = [USER, ITEM, RATING, AMOUNT, TIME];

/// How well a name fits a role: 3 for one of its names (the earlier the better), 2 with `id` behind it, 1 where one of its words is one.
pub(super) fn fit(name: &str, known: &[&str]) -> Option<(u8, std::cmp::Reverse<usize>)> {
    let whole = normalised(name);
    let place = |word: &str| known.iter().position(|known| *known == word).map(std::cmp::Reverse);
    if let Some(place) = place(&whole) {
        return Some((3, place));
    }
    if let Some(place) = whole.strip_suffix("id").and_then(place) {
        return Some((2, place));
    }
    words(name).iter().filter(|word| word.len() > 2).filter_map(|word| place(word)).max().map(|place| (1, place))
}

/// Whether a name is one of these, also with `id` behind it or as one of its words.
pub(super) fn is_called(name: &str, known: &[&str]) -> bool {
    fit(name, known).is_some()
}

/// The words of a name, in lower case: `order_id` and `orderId` have two.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    for (before, c) in std::iter::once(' ').chain(name.chars()).zip(name.chars()) {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        words.last_mut().into_iter().for_each(|word| word.extend(c.to_lowercase().filter(|c| c.is_alphanumeric())));
    }
    words
}

/// How well a name fits the role of a rating, an amount or a time, which no id is.
pub(super) fn fit_of_value(name: &str, known: &[&str]) -> Option<u8> {
    let is_id = words(name).last().is_some_and(|word| ["id", "ids", "uuid", "guid"].contains(&&**word));
    fit(name, known).map(|(how, _)| how).filter(|how| *how != 2 && !is_id)
}

/// The letters and digits of a name, in lower case, without the type that RecBole writes behind it (`user_id:token`).
pub(super) fn normalised(name: &str) -> String {
    const TYPES: [&str; 4] = [":token", ":token_seq", ":float", ":float_seq"];
    let bare = TYPES.iter().find_map(|of_type| name.strip_suffix(of_type)).unwrap_or(name);
    bare.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a column of that name holds amounts, not ratings.
pub(super) fn is_amount(name: &str) -> bool {
    fit_of_value(name, AMOUNT) > fit_of_value(name, RATING)
}
