//! A strict reader of the Prometheus text format.

/// A sample: its family, its labels, and its value.
pub(crate) type Sample = (String, Vec<(String, String)>, f64);

/// Reads every sample of a page.
///
/// # Panics
///
/// If a line is not what the format's specification allows.
pub(crate) fn samples(page: &str) -> Vec<Sample> {
    assert!(page.ends_with('\n'));
    // Not `lines`, which would drop a carriage return at the end of a label.
    let lines = page.split_terminator('\n');
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line:?}")))
        .collect()
}

/// The value of a family that has one sample.
pub(crate) fn value_of(page: &str, family: &str) -> f64 {
    let found = samples(page).into_iter().find(|(name, ..)| name == family);
    found.unwrap_or_else(|| panic!("no {family} in {page}")).2
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (family, mut rest) = line.split_at(name_end);
    let is_name = |name: &str| {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(ok)
    };
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, quoted) = inside.split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.push((label.to_owned(), value));
            inside = match after.strip_prefix(',') {
                Some(next) => next,
                None => break rest = after.strip_prefix('}')?,
            };
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    let names = labels.iter().map(|(label, _)| label.as_str());
    let valid = names.chain([family]).all(is_name);
    valid.then(|| (family.to_owned(), labels, value))
}

/// A label's value up to its closing quote, and the rest of the line.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (end, '"') => return Some((value, &quoted[end + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}
