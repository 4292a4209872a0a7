//! The `[policy]` table as it stands in a file: shapes only. What it means is for [`crate::check`] to say.
//!
//! ```toml
//! [[policy.prefix-list]]
//! name = "customers"
//! entries = ["192.0.2.0/24", { prefix = "10.0.0.0/8", ge = 16, le = 24 }, { prefix = "10.9.0.0/16", le = 32, action = "deny" }]
//!
//! [[policy.as-path-set]]
//! name = "through-65005"
//! patterns = ["* 65005 *"]
//!
//! [[policy.community-set]]
//! name = "internal"
//! communities = ["65001:*", "no-export"]
//! match = "any"
//!
//! [[policy.rule-list]]
//! name = "import"
//! default = "reject"
//!
//! [[policy.rule-list.rule]]
//! name = "customers"
//! prefix-list = "customers"
//! as-path-length = "1-5"
//! action = "accept"
//! set = { preference = 200, tag = 7, communities-add = ["65001:100"], prepend = { as = "own", times = 2 } }
//! ```

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix_list: Vec<PrefixList>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub as_path_set: Vec<AsPathSet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub community_set: Vec<CommunitySet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_list: Vec<RuleList>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrefixList {
    pub name: String,
    pub entries: Vec<PrefixEntry>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum PrefixEntry {
    Exactly(String),
    Lengths(PrefixLengths),
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrefixLengths {
    pub prefix: String,
    pub ge: Option<i64>,
    pub le: Option<i64>,
    pub action: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AsPathSet {
    pub name: String,
    pub patterns: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommunitySet {
    pub name: String,
    pub communities: Vec<String>,
    #[serde(rename = "match")]
    pub quantifier: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleList {
    pub name: String,
    pub default: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Rule>,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Rule {
    pub name: Option<String>,
    pub prefix_list: Option<String>,
    pub as_path_set: Option<String>,
    pub community_set: Option<String>,
    pub next_hop: Option<String>,
    pub protocol: Option<OneOrMany>,
    pub neighbor: Option<OneOrMany>,
    pub tag: Option<Number>,
    pub metric: Option<Number>,
    pub preference: Option<Number>,
    pub as_path_length: Option<Number>,
    pub origin: Option<String>,
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Set::is_empty")]
    pub set: Set,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Set {
    pub metric: Option<Number>,
    pub preference: Option<Number>,
    pub tag: Option<i64>,
    pub distance: Option<i64>,
    pub next_hop: Option<String>,
    pub origin: Option<String>,
    pub prepend: Option<Prepend>,
    pub communities: Option<Vec<String>>,
    pub communities_add: Option<Vec<String>>,
    /// The name of a community set.
    pub communities_remove: Option<String>,
}

impl Set {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prepend {
    #[serde(rename = "as")]
    pub asn: Number,
    pub times: Option<i64>,
}

#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A number, or text that has one in it: a range, a sum.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Number {
    Integer(i64),
    Text(String),
}
