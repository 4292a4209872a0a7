//! AS paths and patterns over them.
//!
//! A pattern is a list of elements between blanks, and covers the whole path:
//!
//! | element | stands for |
//! |---|---|
//! | `65001` | this AS |
//! | `64512-65534` | one AS of the range |
//! | `65001\|65002` | one of these |
//! | `?` | one AS, whichever |
//! | `*` | any number of ASes, none among them |
//! | `65001+` | one or more of what stands in front, as prepending leaves them |
//!
//! The empty pattern is the empty path: a route of one's own. `* 65010` is "originated by 65010", `65001+ *` "heard
//! from 65001", `* 65005 *` "passed through 65005". An AS set counts as one element, which is any of its members.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path, nearest AS first. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AsPath(Arc<[Segment]>);

/// RFC 4271 §4.3: one AS on the way, or an unordered set that aggregation left.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Segment {
    As(u32),
    Set(Vec<u32>),
}

/// Matches paths that match any of its patterns.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AsPathSet {
    patterns: Vec<Pattern>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    elements: Vec<Element>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Element {
    /// Any number of ASes.
    Any,
    One(OneOf),
    OneOrMore(OneOf),
}

/// One AS: in any of the ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
struct OneOf(Vec<RangeInclusive<u32>>);

/// A pattern that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no AS, range (64512-65534), choice (65001|65002), `?`, `*` or one of these with `+`")]
pub struct PatternError(String);

impl AsPath {
    pub fn new(segments: impl Into<Arc<[Segment]>>) -> Self {
        Self(segments.into())
    }

    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// As RFC 4271 §9.1.2.2 counts: a set is one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The AS nearest to us, where it is a single one.
    pub fn first(&self) -> Option<u32> {
        match self.0.first()? {
            Segment::As(asn) => Some(*asn),
            Segment::Set(_) => None,
        }
    }

    /// With `asn` in front, `times` times.
    #[must_use]
    pub fn prepended(&self, asn: u32, times: u8) -> Self {
        let front = std::iter::repeat_n(Segment::As(asn), times.into());
        Self(front.chain(self.0.iter().cloned()).collect())
    }
}

/// `65001 65002 {65003,65004}`
impl FromStr for AsPath {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let segment = |word: &str| {
            let bad = || PatternError(word.to_owned());
            match word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(members) => {
                    let members: Result<Vec<u32>, _> = members.split(',').map(str::parse).collect();
                    members.map(Segment::Set).map_err(|_| bad())
                }
                None => word.parse().map(Segment::As).map_err(|_| bad()),
            }
        };
        let segments: Result<Vec<Segment>, _> = text.split_whitespace().map(segment).collect();
        Ok(Self::new(segments?))
    }
}

impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            match segment {
                Segment::As(asn) => write!(f, "{space}{asn}")?,
                Segment::Set(members) => {
                    let members: Vec<String> = members.iter().map(u32::to_string).collect();
                    write!(f, "{space}{{{}}}", members.join(","))?;
                }
            }
        }
        Ok(())
    }
}

impl AsPathSet {
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns }
    }

    pub fn matches(&self, path: &AsPath) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path))
    }
}

impl Pattern {
    pub fn matches(&self, path: &AsPath) -> bool {
        // Which lengths of path the elements so far can cover: no backtracking, whatever the pattern.
        let mut covered = vec![false; path.len() + 1];
        covered[0] = true;
        for element in &self.elements {
            covered = element.advance(&covered, path);
        }
        covered.last().copied().unwrap_or(false)
    }
}

impl Element {
    fn advance(&self, covered: &[bool], path: &AsPath) -> Vec<bool> {
        let mut next = vec![false; covered.len()];
        match self {
            Self::Any => {
                let mut reached = false;
                for (to, from) in next.iter_mut().zip(covered) {
                    reached |= *from;
                    *to = reached;
                }
            }
            Self::One(one) => {
                for (at, segment) in path.segments().iter().enumerate() {
                    next[at + 1] = covered[at] && one.matches(segment);
                }
            }
            Self::OneOrMore(one) => {
                for (at, segment) in path.segments().iter().enumerate() {
                    next[at + 1] = (covered[at] || next[at]) && one.matches(segment);
                }
            }
        }
        next
    }
}

impl OneOf {
    fn matches(&self, segment: &Segment) -> bool {
        let holds = |asn: &u32| self.0.iter().any(|range| range.contains(asn));
        match segment {
            Segment::As(asn) => holds(asn),
            Segment::Set(members) => members.iter().any(holds),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let elements: Result<Vec<Element>, _> = text.split_whitespace().map(Element::parse).collect();
        Ok(Self { text: text.to_owned(), elements: elements? })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl Element {
    fn parse(word: &str) -> Result<Self, PatternError> {
        if word == "*" {
            return Ok(Self::Any);
        }
        let bad = || PatternError(word.to_owned());
        match word.strip_suffix('+') {
            Some(repeated) => OneOf::parse(repeated).map(Self::OneOrMore).ok_or_else(bad),
            None => OneOf::parse(word).map(Self::One).ok_or_else(bad),
        }
    }
}

impl OneOf {
    fn parse(word: &str) -> Option<Self> {
        if word == "?" {
            return Some(Self(vec![0..=u32::MAX]));
        }
        let range = |text: &str| {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            let (low, high) = (number(low)?, number(high)?);
            (low <= high).then_some(low..=high)
        };
        word.split('|').map(range).collect::<Option<Vec<_>>>().map(Self)
    }
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, matching, not) in [
            ("", vec![""], vec!["65001"]),
            ("65001", vec!["65001"], vec!["", "65002", "65001 65001"]),
            ("65001 *", vec!["65001", "65001 1 2 3"], vec!["", "1 65001"]),
            ("* 65010", vec!["65010", "1 2 65010"], vec!["65010 1"]),
            ("* 65005 *", vec!["65005", "1 65005", "65005 2", "1 65005 2"], vec!["1 2", ""]),
            ("65001+ 2", vec!["65001 2", "65001 65001 65001 2"], vec!["2", "65001 1 2"]),
            ("? ?", vec!["1 2", "7 {1,2}"], vec!["1", "1 2 3"]),
            ("64512-65534+", vec!["64512", "65534 65000"], vec!["", "65535", "65000 1"]),
            ("1|2|10-20 3", vec!["1 3", "2 3", "15 3"], vec!["3 3", "21 3"]),
            ("1 2", vec!["1 {7,2}"], vec!["1 {7,8}"]),
            ("*", vec!["", "1 2 3"], vec![]),
            ("* 1 * 2 *", vec!["1 2", "9 1 8 2 7"], vec!["2 1"]),
            ("?+", vec!["1", "1 2"], vec![""]),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            for (paths, expected) in [(matching, true), (not, false)] {
                for path in paths {
                    assert_eq!(
                        pattern.matches(&path.parse().unwrap()),
                        expected,
                        "{:?} on {path:?}",
                        pattern.text
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["x", "1-", "5-1", "+", "1|", "-1", "+1", "4294967296", "1++", "**", "*+", "65001,65002"]
        {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
        for text in ["1,2", "{1,}", "{}", "{1", "a"] {
            assert!(text.parse::<AsPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn prepending() {
        let path: AsPath = "2 {3,4}".parse().unwrap();
        assert_eq!(path.prepended(1, 3).to_string(), "1 1 1 2 {3,4}");
        assert_eq!((path.len(), path.first()), (2, Some(2)));
    }

    /// The obvious way, which backtracks.
    fn naive(elements: &[Element], path: &[Segment]) -> bool {
        match elements.split_first() {
            None => path.is_empty(),
            Some((Element::Any, rest)) => (0..=path.len()).any(|taken| naive(rest, &path[taken..])),
            Some((Element::One(one), rest)) => {
                path.split_first().is_some_and(|(first, path)| one.matches(first) && naive(rest, path))
            }
            Some((Element::OneOrMore(one), rest)) => (1..=path.len())
                .take_while(|taken| path[..*taken].iter().all(|segment| one.matches(segment)))
                .any(|taken| naive(rest, &path[taken..])),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_way(
            words in proptest::collection::vec("[1-3]|\\*|\\?|[1-3]\\+|1\\|3|\\?\\+|2-3", 0..6),
            path in proptest::collection::vec(1u32..5, 0..7),
        ) {
            let pattern: Pattern = words.join(" ").parse().unwrap();
            let path = AsPath::new(path.into_iter().map(Segment::As).collect::<Vec<_>>());
            prop_assert_eq!(pattern.matches(&path), naive(&pattern.elements, path.segments()));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = (text.parse::<Pattern>(), text.parse::<AsPath>());
        }

        #[test]
        fn text_round_trips(path in proptest::collection::vec(prop_oneof![
            any::<u32>().prop_map(Segment::As),
            proptest::collection::vec(any::<u32>(), 1..4).prop_map(Segment::Set),
        ], 0..6)) {
            let path = AsPath::new(path);
            prop_assert_eq!(path.to_string().parse::<AsPath>(), Ok(path));
        }
    }
}
