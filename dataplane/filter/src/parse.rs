//! From text to a [`Test`], by recursive descent over words.

use std::net::Ipv4Addr;

use millrace_net::{Mac, Prefix};

use super::{Side, Test};

/// Parentheses and negations one inside the other: more is an attack on the stack.
const MAX_DEPTH: usize = 64;
/// Words of a filter: enough for any hand, and a bound for what a frame costs.
const MAX_WORDS: usize = 512;

/// What is wrong with a filter, and what was expected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    #[error("the filter ends where {0} should follow")]
    Ends(&'static str),
    #[error("{0:?} in the filter: expected {1}")]
    Unexpected(String, &'static str),
    #[error("the filter is too long or too deep: at most {MAX_WORDS} words and {MAX_DEPTH} levels")]
    TooLarge,
}

const TEST: &str =
    "host, net, port, portrange, proto, ip, icmp, tcp, udp, arp, vlan, ether host, less, greater, not or (";

/// None for an empty text.
pub(crate) fn parse(text: &str) -> Result<Option<Test>, FilterError> {
    let spaced = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('!', " ! ")
        .replace("&&", " and ")
        .replace("||", " or ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    if MAX_WORDS < words.len() {
        return Err(FilterError::TooLarge);
    }
    let mut words = Words { words: &words };
    let test = words.all(MAX_DEPTH)?;
    match words.words.first() {
        None => Ok(Some(test)),
        Some(word) => Err(unexpected(word, "and, or, or the end")),
    }
}

fn unexpected(word: &str, expected: &'static str) -> FilterError {
    FilterError::Unexpected(word.to_owned(), expected)
}

/// The words that are left.
struct Words<'a> {
    words: &'a [&'a str],
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.first().copied()
    }

    fn take(&mut self, expected: &'static str) -> Result<&'a str, FilterError> {
        let (first, rest) = self.words.split_first().ok_or(FilterError::Ends(expected))?;
        self.words = rest;
        Ok(first)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    /// `and` and `or` bind alike, from left to right, as in pcap-filter.
    fn all(&mut self, depth: usize) -> Result<Test, FilterError> {
        let mut test = self.not(depth)?;
        loop {
            if self.eat("or") {
                test = Test::Or(Box::new((test, self.not(depth)?)));
            } else if self.eat("and") {
                test = Test::And(Box::new((test, self.not(depth)?)));
            } else {
                return Ok(test);
            }
        }
    }

    fn not(&mut self, depth: usize) -> Result<Test, FilterError> {
        let inner = depth.checked_sub(1).ok_or(FilterError::TooLarge)?;
        if self.eat("not") || self.eat("!") {
            return Ok(Test::Not(Box::new(self.not(inner)?)));
        }
        if self.eat("(") {
            let test = self.all(inner)?;
            return match self.take(")")? {
                ")" => Ok(test),
                word => Err(unexpected(word, ")")),
            };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        match self.take(TEST)? {
            "arp" => Ok(Test::Arp),
            "vlan" => {
                let id = self.peek().and_then(|word| word.parse::<u16>().ok());
                if id.is_some() {
                    self.take("")?;
                }
                match id {
                    Some(id) if 4095 < id => Err(unexpected(&id.to_string(), "a VLAN id up to 4095")),
                    id => Ok(Test::Vlan(id)),
                }
            }
            "less" => Ok(Test::Shorter(self.number("a number of bytes")?)),
            "greater" => Ok(Test::Longer(self.number("a number of bytes")?)),
            "ether" => {
                let side = self.side();
                self.eat("host");
                let word = self.take("a hardware address such as 02:00:5e:10:00:01")?;
                let mac: Mac = word
                    .parse()
                    .map_err(|_| unexpected(word, "a hardware address such as 02:00:5e:10:00:01"))?;
                Ok(Test::Ether(side, mac))
            }
            "proto" => Ok(Test::Protocol(self.number("a protocol number up to 255")?)),
            "ip" if self.eat("proto") => Ok(Test::Protocol(self.number("a protocol number up to 255")?)),
            "ip" => self.of(Test::Ip),
            "icmp" => self.of(Test::Protocol(1)),
            "tcp" => self.of(Test::Protocol(6)),
            "udp" => self.of(Test::Protocol(17)),
            word => self.end_or(word),
        }
    }

    /// A protocol alone, or as the qualifier of a test that follows.
    fn of(&mut self, protocol: Test) -> Result<Test, FilterError> {
        match self.peek() {
            Some("src" | "dst" | "host" | "net" | "port" | "portrange") => {
                let word = self.take(TEST)?;
                Ok(Test::And(Box::new((protocol, self.end_or(word)?))))
            }
            Some(_) | None => Ok(protocol),
        }
    }

    /// What begins with a direction or the kind of an end.
    fn end_or(&mut self, word: &'a str) -> Result<Test, FilterError> {
        let side = match word {
            "src" if self.words.starts_with(&["or", "dst"]) => {
                self.words = &self.words[2..];
                Side::Either
            }
            "src" => Side::Source,
            "dst" => Side::Destination,
            _ => return self.end(Side::Either, word),
        };
        let word = self.take("host, net, port, portrange or an address")?;
        self.end(side, word)
    }

    fn end(&mut self, side: Side, word: &'a str) -> Result<Test, FilterError> {
        const ADDRESS: &str = "an IPv4 address such as 192.0.2.1";
        const PREFIX: &str = "a prefix such as 192.0.2.0/24, host bits clear";
        match word {
            "host" => {
                let word = self.take(ADDRESS)?;
                host(word).map(|prefix| Test::Net(side, prefix)).ok_or_else(|| unexpected(word, ADDRESS))
            }
            "net" => {
                let word = self.take(PREFIX)?;
                let prefix = word.parse::<Prefix>().ok().or_else(|| host(word));
                prefix.map(|prefix| Test::Net(side, prefix)).ok_or_else(|| unexpected(word, PREFIX))
            }
            "port" => {
                let port = self.number("a port from 0 to 65535")?;
                Ok(Test::Ports(side, port, port))
            }
            "portrange" => {
                const RANGE: &str = "a range of ports such as 1024-2047";
                let word = self.take(RANGE)?;
                let ends = word.split_once('-').and_then(|(a, b)| a.parse().ok().zip(b.parse().ok()));
                match ends {
                    Some((first, last)) if first <= last => Ok(Test::Ports(side, first, last)),
                    Some(_) | None => Err(unexpected(word, RANGE)),
                }
            }
            word => match host(word).or_else(|| word.parse().ok()) {
                Some(prefix) => Ok(Test::Net(side, prefix)),
                None => Err(unexpected(word, TEST)),
            },
        }
    }

    fn side(&mut self) -> Side {
        if self.words.starts_with(&["src", "or", "dst"]) {
            self.words = &self.words[3..];
            Side::Either
        } else if self.eat("src") {
            Side::Source
        } else if self.eat("dst") {
            Side::Destination
        } else {
            Side::Either
        }
    }

    fn number<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T, FilterError> {
        let word = self.take(expected)?;
        word.parse().map_err(|_| unexpected(word, expected))
    }
}

fn host(word: &str) -> Option<Prefix> {
    word.parse::<Ipv4Addr>().ok().map(Prefix::host)
}
