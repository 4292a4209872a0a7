//! The raw table becomes [`Policies`], or a list of everything that is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::as_path::AsPathSet;
use crate::community::{Community, CommunitySet};
use crate::prefix_list::{Entry, PrefixList};
use crate::raw;
use crate::route::{Origin, Protocol};
use crate::rule::{Arithmetic, Change, Condition, Decision, Named, PrependAs, Rule, RuleList};

/// Everything of `[policy]`, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    pub prefix_lists: BTreeMap<String, Arc<PrefixList>>,
    pub as_path_sets: BTreeMap<String, Arc<AsPathSet>>,
    pub community_sets: BTreeMap<String, Arc<CommunitySet>>,
    pub rule_lists: BTreeMap<String, Arc<RuleList>>,
}

/// What is wrong, where, and what would have been right.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, thiserror::Error)]
#[error("{key}: expected {expected}, not {value}")]
pub struct Problem {
    /// `policy.rule-list "import" rule 2: set.metric`
    pub key: String,
    /// As it stands in the file.
    pub value: String,
    pub expected: String,
}

impl Policies {
    /// Checks everything, and names every problem rather than the first.
    pub fn check(raw: &raw::Policy) -> Result<Self, Vec<Problem>> {
        let mut checker = Checker { policies: Self::default(), problems: Vec::new() };
        for list in &raw.prefix_list {
            checker.prefix_list(list);
        }
        for set in &raw.as_path_set {
            checker.as_path_set(set);
        }
        for set in &raw.community_set {
            checker.community_set(set);
        }
        for list in &raw.rule_list {
            checker.rule_list(list);
        }
        if checker.problems.is_empty() { Ok(checker.policies) } else { Err(checker.problems) }
    }
}

struct Checker {
    policies: Policies,
    problems: Vec<Problem>,
}

const AS_NUMBER: RangeInclusive<i64> = 1..=4_294_967_294;

impl Checker {
    fn wrong(&mut self, key: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), value: value.to_string(), expected: expected.into() });
    }

    fn name<T>(
        &mut self,
        kind: &str,
        name: &str,
        taken: impl Fn(&Policies) -> &BTreeMap<String, T>,
    ) -> String {
        let key = format!("policy.{kind} \"{name}\"");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || 63 < name.len() || !name.bytes().all(fits) {
            let expected = "a name of 1 to 63 letters, digits, `-`, `_` and `.`";
            self.wrong(format!("policy.{kind}: name"), format!("{name:?}"), expected);
        } else if taken(&self.policies).contains_key(name) {
            self.wrong(key.clone(), format!("{name:?} once more"), format!("a name no other {kind} has"));
        }
        key
    }

    fn prefix_list(&mut self, raw: &raw::PrefixList) {
        let at = self.name("prefix-list", &raw.name, |policies| &policies.prefix_lists);
        let mut entries = Vec::new();
        for (number, entry) in raw.entries.iter().enumerate() {
            let at = format!("{at} entry {}", number + 1);
            match entry {
                raw::PrefixEntry::Exactly(prefix) => {
                    entries.extend(self.entry(&at, prefix, None, None, None))
                }
                raw::PrefixEntry::Lengths(raw::PrefixLengths { prefix, ge, le, action }) => {
                    entries.extend(self.entry(&at, prefix, *ge, *le, action.as_deref()));
                }
            }
        }
        self.policies.prefix_lists.insert(raw.name.clone(), Arc::new(PrefixList::new(entries)));
    }

    fn entry(
        &mut self,
        at: &str,
        prefix: &str,
        ge: Option<i64>,
        le: Option<i64>,
        action: Option<&str>,
    ) -> Option<Entry> {
        let permit = match action {
            None | Some("permit") => true,
            Some("deny") => false,
            Some(other) => {
                self.wrong(format!("{at}: action"), format!("{other:?}"), "\"permit\" or \"deny\"");
                return None;
            }
        };
        let parsed = match prefix.parse::<millrace_net::Prefix>() {
            Ok(parsed) => parsed,
            Err(error) => {
                self.wrong(format!("{at}: prefix"), format!("{prefix:?}"), format!("a prefix ({error})"));
                return None;
            }
        };
        let bound = |bound: Option<i64>| bound.map(|length| u8::try_from(length).unwrap_or(u8::MAX));
        match Entry::new(parsed, bound(ge), bound(le), permit) {
            Ok(entry) => Some(entry),
            Err(error) => {
                let shown = |name: &str, bound: Option<i64>| bound.map(|length| format!("{name} {length}"));
                let bounds: Vec<String> = shown("ge", ge).into_iter().chain(shown("le", le)).collect();
                self.wrong(at, format!("{prefix} {}", bounds.join(" ")), error.to_string());
                None
            }
        }
    }

    fn as_path_set(&mut self, raw: &raw::AsPathSet) {
        let at = self.name("as-path-set", &raw.name, |policies| &policies.as_path_sets);
        let patterns = self.each(&format!("{at}: patterns"), &raw.patterns, "elements of AS paths");
        self.policies.as_path_sets.insert(raw.name.clone(), Arc::new(AsPathSet::new(patterns)));
    }

    fn community_set(&mut self, raw: &raw::CommunitySet) {
        let at = self.name("community-set", &raw.name, |policies| &policies.community_sets);
        let communities = &format!("{at}: communities");
        let patterns = self.each(communities, &raw.communities, "a community or a pattern such as 65001:*");
        let all = match raw.quantifier.as_deref() {
            None | Some("any") => false,
            Some("all") => true,
            Some(other) => {
                self.wrong(format!("{at}: match"), format!("{other:?}"), "\"any\" or \"all\"");
                false
            }
        };
        self.policies.community_sets.insert(raw.name.clone(), Arc::new(CommunitySet::new(patterns, all)));
    }

    /// Parses each text of a list, and notes those that do not.
    fn each<T: FromStr<Err: fmt::Display>>(&mut self, at: &str, texts: &[String], expected: &str) -> Vec<T> {
        let mut parsed = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(value) => parsed.push(value),
                Err(error) => self.wrong(at, format!("{text:?}"), format!("{expected} ({error})")),
            }
        }
        parsed
    }

    fn rule_list(&mut self, raw: &raw::RuleList) {
        let at = self.name("rule-list", &raw.name, |policies| &policies.rule_lists);
        let default = match raw.default.as_deref() {
            None | Some("reject") => Decision::Reject,
            Some("accept") => Decision::Accept,
            Some(other) => {
                self.wrong(format!("{at}: default"), format!("{other:?}"), "\"accept\" or \"reject\"");
                Decision::Reject
            }
        };
        let rules = raw.rule.iter().enumerate().map(|(number, rule)| {
            let at = format!("{at} rule {}", number + 1);
            self.rule(&at, rule)
        });
        let rules = rules.collect();
        let list = RuleList { name: raw.name.clone(), rules, default };
        self.policies.rule_lists.insert(raw.name.clone(), Arc::new(list));
    }

    fn rule(&mut self, at: &str, raw: &raw::Rule) -> Rule {
        let conditions = self.conditions(at, raw);
        let changes = self.changes(at, &raw.set);
        let decision = match raw.action.as_deref() {
            Some("accept") => Some(Decision::Accept),
            Some("reject") => Some(Decision::Reject),
            Some("next") => None,
            Some(other) => {
                self.wrong(
                    format!("{at}: action"),
                    format!("{other:?}"),
                    "\"accept\", \"reject\" or \"next\"",
                );
                None
            }
            None => {
                self.wrong(format!("{at}: action"), "nothing", "\"accept\", \"reject\" or \"next\"");
                None
            }
        };
        Rule { name: raw.name.clone(), conditions, changes, decision }
    }

    fn conditions(&mut self, at: &str, raw: &raw::Rule) -> Vec<Condition> {
        let prefix =
            self.named(at, "prefix-list", "prefix-list", raw.prefix_list.as_ref(), |p| &p.prefix_lists);
        let next_hop = self.named(at, "next-hop", "prefix-list", raw.next_hop.as_ref(), |p| &p.prefix_lists);
        let as_path =
            self.named(at, "as-path-set", "as-path-set", raw.as_path_set.as_ref(), |p| &p.as_path_sets);
        let community = self
            .named(at, "community-set", "community-set", raw.community_set.as_ref(), |p| &p.community_sets);
        let protocols = self.words(at, "protocol", raw.protocol.as_ref(), PROTOCOLS, Protocol::from_name);
        let neighbors =
            self.words(at, "neighbor", raw.neighbor.as_ref(), "an IPv4 address", |text| text.parse().ok());
        let origin = self.words(at, "origin", one(raw.origin.as_ref()).as_ref(), ORIGINS, Origin::from_name);
        let all = u32::MIN..=u32::MAX;
        let tag = self.range(at, "tag", raw.tag.as_ref(), &all);
        let metric = self.range(at, "metric", raw.metric.as_ref(), &all);
        let preference = self.range(at, "preference", raw.preference.as_ref(), &all);
        let length = self.range(at, "as-path-length", raw.as_path_length.as_ref(), &(0..=65_535));
        [
            prefix.map(Condition::Prefix),
            as_path.map(Condition::AsPath),
            community.map(Condition::Community),
            next_hop.map(Condition::NextHop),
            protocols.map(Condition::Protocol),
            neighbors.map(Condition::Neighbor),
            tag.map(Condition::Tag),
            metric.map(Condition::Metric),
            preference.map(Condition::Preference),
            length.map(Condition::AsPathLength),
            origin.and_then(|origins| origins.first().copied()).map(Condition::Origin),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn changes(&mut self, at: &str, raw: &raw::Set) -> Vec<Change> {
        let at = format!("{at}: set");
        let metric = self.arithmetic(&at, "metric", raw.metric.as_ref());
        let preference = self.arithmetic(&at, "preference", raw.preference.as_ref());
        let tag = self.number(&at, "tag", raw.tag, &(0..=u32::MAX.into()));
        let distance = self.number(&at, "distance", raw.distance, &(1..=255));
        let next_hop =
            self.words(&at, "next-hop", one(raw.next_hop.as_ref()).as_ref(), NEXT_HOP, |text| match text {
                "self" => Some(None),
                address => address.parse().ok().map(Some),
            });
        let origin = self.words(&at, "origin", one(raw.origin.as_ref()).as_ref(), ORIGINS, Origin::from_name);
        let prepend = raw.prepend.as_ref().and_then(|prepend| self.prepend(&at, prepend));
        let exactly = self.communities(&at, "communities", raw.communities.as_ref());
        let add = self.communities(&at, "communities-add", raw.communities_add.as_ref());
        let remove = raw.communities_remove.as_ref();
        let remove = self.named(&at, "communities-remove", "community-set", remove, |p| &p.community_sets);
        // Removing comes before adding, so that a rule can exchange one for another.
        [
            metric.map(Change::Metric),
            preference.map(Change::Preference),
            tag.and_then(|tag| u32::try_from(tag).ok()).map(Change::Tag),
            distance.and_then(|distance| u8::try_from(distance).ok()).map(Change::Distance),
            next_hop.and_then(|hops| hops.first().copied()).map(Change::NextHop),
            origin.and_then(|origins| origins.first().copied()).map(Change::Origin),
            prepend,
            exactly.map(Change::SetCommunities),
            remove.map(Change::RemoveCommunities),
            add.map(Change::AddCommunities),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Looks up a set by name; unknown names are a problem that names those there are.
    fn named<T>(
        &mut self,
        at: &str,
        key: &str,
        kind: &str,
        name: Option<&String>,
        sets: impl Fn(&Policies) -> &BTreeMap<String, Arc<T>>,
    ) -> Option<Named<T>> {
        let name = name?;
        if let Some(set) = sets(&self.policies).get(name) {
            return Some(Named { name: name.clone(), set: Arc::clone(set) });
        }
        let known: Vec<&str> = sets(&self.policies).keys().map(String::as_str).collect();
        let article = if kind.starts_with('a') { "an" } else { "a" };
        let expected = if known.is_empty() {
            format!("the name of {article} {kind}, of which there is none")
        } else {
            format!("the name of {article} {kind}: {}", known.join(", "))
        };
        self.wrong(join(at, key), format!("{name:?}"), expected);
        None
    }

    fn words<T>(
        &mut self,
        at: &str,
        key: &str,
        raw: Option<&raw::OneOrMany>,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let words = match raw? {
            raw::OneOrMany::One(word) => std::slice::from_ref(word),
            raw::OneOrMany::Many(words) => words,
        };
        let mut parsed = Vec::new();
        for word in words {
            match parse(word) {
                Some(value) => parsed.push(value),
                None => self.wrong(join(at, key), format!("{word:?}"), expected),
            }
        }
        Some(parsed)
    }

    /// `5` or `"5-10"`.
    fn range(
        &mut self,
        at: &str,
        key: &str,
        raw: Option<&raw::Number>,
        within: &RangeInclusive<u32>,
    ) -> Option<RangeInclusive<u32>> {
        let raw = raw?;
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| within.contains(number));
        let parsed = match raw {
            raw::Number::Integer(exactly) => number(&exactly.to_string()).map(|number| number..=number),
            raw::Number::Text(text) => {
                let (low, high) = text.split_once('-').unwrap_or((text, text));
                number(low).zip(number(high)).filter(|(low, high)| low <= high).map(|(low, high)| low..=high)
            }
        };
        if parsed.is_none() {
            let expected =
                format!("a number of {} to {} or a range such as \"5-10\"", within.start(), within.end());
            self.wrong(join(at, key), raw, expected);
        }
        parsed
    }

    /// `100`, `"+5"` or `"-5"`.
    fn arithmetic(&mut self, at: &str, key: &str, raw: Option<&raw::Number>) -> Option<Arithmetic> {
        let raw = raw?;
        let parsed = match raw {
            raw::Number::Integer(to) => u32::try_from(*to).ok().map(Arithmetic::To),
            raw::Number::Text(text) => {
                let digits = |text: &str| {
                    text.parse::<u32>().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
                };
                match (text.strip_prefix('+'), text.strip_prefix('-')) {
                    (Some(more), _) => digits(more).map(Arithmetic::Plus),
                    (None, Some(less)) => digits(less).map(Arithmetic::Minus),
                    (None, None) => digits(text).map(Arithmetic::To),
                }
            }
        };
        if parsed.is_none() {
            self.wrong(
                join(at, key),
                raw,
                "a number of 0 to 4294967295, or a change such as \"+5\" or \"-5\"",
            );
        }
        parsed
    }

    fn number(&mut self, at: &str, key: &str, raw: Option<i64>, within: &RangeInclusive<i64>) -> Option<i64> {
        let number = raw?;
        if within.contains(&number) {
            return Some(number);
        }
        self.wrong(join(at, key), number, format!("a number of {} to {}", within.start(), within.end()));
        None
    }

    fn prepend(&mut self, at: &str, raw: &raw::Prepend) -> Option<Change> {
        let times = self.number(at, "prepend.times", raw.times.or(Some(1)), &(1..=32))?;
        let asn = match &raw.asn {
            raw::Number::Text(text) if text == "own" => Some(PrependAs::Own),
            raw::Number::Text(text) if text == "first" => Some(PrependAs::First),
            raw::Number::Text(text) => {
                text.parse().ok().filter(|asn| AS_NUMBER.contains(asn)).and_then(as_number)
            }
            raw::Number::Integer(asn) => Some(*asn).filter(|asn| AS_NUMBER.contains(asn)).and_then(as_number),
        };
        let Some(asn) = asn else {
            self.wrong(
                join(at, "prepend.as"),
                &raw.asn,
                "\"own\", \"first\" or an AS number of 1 to 4294967294",
            );
            return None;
        };
        Some(Change::Prepend { asn, times: u8::try_from(times).ok()? })
    }

    fn communities(&mut self, at: &str, key: &str, raw: Option<&Vec<String>>) -> Option<Vec<Community>> {
        Some(self.each(&join(at, key), raw?, "a community"))
    }
}

const PROTOCOLS: &str = "\"connected\", \"static\", \"kernel\", \"rip\", \"ospf\" or \"bgp\"";
const ORIGINS: &str = "\"igp\", \"egp\" or \"incomplete\"";
const NEXT_HOP: &str = "\"self\" or an IPv4 address";

fn as_number(asn: i64) -> Option<PrependAs> {
    u32::try_from(asn).ok().map(PrependAs::As)
}

fn one(word: Option<&String>) -> Option<raw::OneOrMany> {
    word.cloned().map(raw::OneOrMany::One)
}

/// `…rule 2: metric`, and under `set`: `…rule 2: set.metric`.
fn join(at: &str, key: &str) -> String {
    if at.contains(": ") { format!("{at}.{key}") } else { format!("{at}: {key}") }
}

impl fmt::Display for raw::Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
