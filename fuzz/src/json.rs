//! A reader of JSON that keeps the order of keys, and duplicates.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// If the page is not one value and a newline.
    pub fn read(page: &[u8]) -> Result<Self, String> {
        let Some((b'\n', json)) = page.split_last() else {
            return Err("the last line has no newline".to_owned());
        };
        if json.contains(&b'\n') {
            return Err("there is more than one line".to_owned());
        }
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }
}

/// Null is rejected: no page has it.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a string, a list or an object")
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Json, E> {
        Ok(Json::Bool(bool))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Json, E> {
        Ok(Json::Int(int.into()))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Json, E> {
        Ok(Json::Int(int.into()))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Json, E> {
        Ok(Json::Float(float))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = list.next_element()? {
            all.push(value);
        }
        Ok(Json::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = object.next_entry()? {
            all.push(entry);
        }
        Ok(Json::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_duplicates() {
        let int = |key: &str, int| (key.to_owned(), Json::Int(int));
        assert_eq!(
            Json::read(b"{\"b\":1,\"a\":-2,\"b\":3}\n"),
            Ok(Json::Object(vec![int("b", 1), int("a", -2), int("b", 3)]))
        );
        assert_eq!(
            Json::read(b"[1.0,\"x\",true]\n"),
            Ok(Json::List(vec![Json::Float(1.0), Json::Text("x".to_owned()), Json::Bool(true),]))
        );
    }

    #[test]
    fn invalid_page_is_rejected() {
        for bad in ["", "1", "{\"a\":1}\n\n", "{}\n{}\n", "null\n", "[null]\n", "NaN\n", "{} x\n"] {
            assert!(Json::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
