//! Where in a TOML text an error is: line and full key, found from the byte that the parser names.

/// Line (from 1) and full key of what stands at byte `at`.
pub(super) fn place_of(text: &str, at: usize, problem: &str) -> (usize, String) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let mut lines: Vec<&str> = text.lines().take(line).collect();
    // A missing key has no place of its own: its section is named and the key added.
    let missing = problem
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    let key = match missing {
        Some(key) => Some(key.to_owned()),
        // A list may go over several lines; its key is on the first of them.
        None => lines
            .iter()
            .rev()
            .take_while(|l| section(l).is_none())
            .find_map(|l| key_of(l)),
    };
    if missing.is_some() && at == 0 {
        lines.clear();
    }
    let section = lines.iter().rev().find_map(|l| section(l));
    let parts: Vec<String> = section.into_iter().map(str::to_owned).chain(key).collect();
    (line, parts.join("."))
}

/// The name in `[name]`.
fn section(line: &str) -> Option<&str> {
    let line = line.split('#').next()?.trim();
    let name = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    is_key(name).then_some(name)
}

/// The key in `key = value`.
fn key_of(line: &str) -> Option<String> {
    let key = line
        .split('=')
        .next()
        .filter(|key| key.len() < line.len())?
        .trim();
    is_key(key).then(|| key.to_owned())
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"' || c == '\'')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c))
}
