//! "Did you mean ..?": the known name that is nearest to a word.

/// The name in `known` that `word` is most likely a misspelling or another form of.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let alike = |name: &str| word.chars().zip(name.chars()).take_while(|(one, other)| one == other).count();
    let close = |name: &&&str| {
        let distance = distance(word, name);
        // Four common first letters allow for another ending: `retry` for `retries`.
        distance <= (name.len() / 3).max(1) || (distance <= 3 && alike(name) >= 4)
    };
    known.iter().filter(close).min_by_key(|name| distance(word, name)).copied()
}

/// A hint to append to a message; empty if no name is near.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    nearest(word, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The number of edits between two words: insert, delete, replace, or swap of two neighbours (Damerau 1964).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut table = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let swap = if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                    table[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                replace.min(swap).min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
        }
    }
    table[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["kind", "chunks", "chunk_size", "pool"];
        assert_eq!(nearest("chunk", &known), Some("chunks"));
        assert_eq!(nearest("kidn", &known), Some("kind"));
        assert_eq!(nearest("chunksize", &known), Some("chunk_size"));
        assert_eq!(nearest("threads", &known), None);
        assert_eq!(nearest("retry", &["retries", "reduce"]), Some("retries"));
        assert_eq!(hint("pol", &known), "; did you mean `pool`?");
    }
}
