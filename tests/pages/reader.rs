//! A parser of the text format that accepts nothing beyond what the pages use.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: String,
}

pub(crate) fn find<'a>(families: &'a [Family], name: &str) -> &'a Family {
    families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no family {name}"))
}

/// Returns the samples of a family with two labels, by the labels' values.
pub(crate) fn rows(families: &[Family], family: &str, labels: [&str; 2]) -> BTreeMap<(String, String), String> {
    let row = |sample: &Sample| {
        let [(first, name), (second, value)] = &sample.labels[..] else { panic!("two labels: {sample:?}") };
        assert_eq!([first, second], labels);
        ((name.clone(), value.clone()), sample.value.clone())
    };
    find(families, family).samples.iter().map(row).collect()
}

/// Parses a page of families, each with its HELP, its TYPE and at least one sample.
pub(crate) fn read(page: &str) -> Vec<Family> {
    assert!(page.ends_with('\n'), "the last line ends with a newline");
    let mut families: Vec<Family> = Vec::new();
    let mut lines = page.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect("a family's HELP");
        let (name, help) = help.split_once(' ').expect("a text");
        assert!(!help.is_empty() && !help.contains('\\'), "{line}");
        let line = lines.next().expect("a family's TYPE");
        let kind = line.strip_prefix("# TYPE ").expect("a family's TYPE");
        let (named, kind) = kind.split_once(' ').expect("a type");
        assert_eq!(named, name);
        assert!(["counter", "gauge"].contains(&kind), "{line}");
        assert!(is_name(name), "{name}");
        assert!(families.iter().all(|known| known.name != name), "{name} appears twice");

        let mut samples: Vec<Sample> = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let sample = line.strip_prefix(name).expect("a sample of this family");
            let sample = read_sample(sample);
            assert!(samples.iter().all(|known| known.labels != sample.labels), "appears twice: {line}");
            samples.push(sample);
        }
        assert!(!samples.is_empty(), "{name} without samples");
        families.push(Family { name: name.to_owned(), kind: kind.to_owned(), samples });
    }
    families
}

/// Parses what follows the name of a sample: labels, if any, a space and the value.
fn read_sample(text: &str) -> Sample {
    let mut labels = Vec::new();
    let mut rest = text;
    if let Some(inside) = text.strip_prefix('{') {
        rest = inside;
        loop {
            let (name, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(name) && !name.contains(':'), "{name}");
            let (value, after) = read_label_value(after);
            labels.push((name.to_owned(), value));
            match after.split_at(1) {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => panic!("expected a comma or a brace: {text}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{text}");
    Sample { labels, value: value.to_owned() }
}

/// Parses a label value, and returns it with what follows its closing quote.
fn read_label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                other => panic!("invalid escape: {other:?}"),
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}
