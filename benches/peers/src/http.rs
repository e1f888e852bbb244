//! As much of HTTP as it takes to see where an answer ends.

/// How long the parts of an answer are.
pub struct Answer {
    pub head: usize,
    pub body: usize,
}

impl Answer {
    /// None as long as the head is not there.
    ///
    /// # Errors
    ///
    /// If it is not a good answer, or does not say how long it is.
    pub fn parse(received: &[u8]) -> Result<Option<Self>, String> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = received.windows(END.len()).position(|four| four == END) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&received[..end]);
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("not what was asked for: {head}"));
        }
        let body = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.trim().parse().ok())
            .ok_or_else(|| format!("no length: {head}"))?;
        Ok(Some(Self {
            head: end + END.len(),
            body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let received = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        let answer = Answer::parse(received).expect("good").expect("whole head");
        assert_eq!((answer.head, answer.body), (received.len() - 3, 5));
        assert!(matches!(Answer::parse(&received[..20]), Ok(None)));
        assert!(Answer::parse(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }
}
