//! Reads values out of spanned TOML, and notes what is wrong with them and where; never stops at the first.

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Source};
use super::reference::{self, Section};

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) problems: Vec<Problem>,
}

/// One table of the file, known keys only.
#[derive(Clone, Debug)]
pub(super) struct Table<'d> {
    section: Section,
    /// How errors call it: `[[interface]] "eth0"`.
    title: String,
    /// The header, or the braces.
    pub(super) span: Range<usize>,
    entries: &'d DeTable<'d>,
}

/// One value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Field<'d> {
    /// `interface.on-failure`
    pub(super) path: String,
    /// How the sentence of an error begins: `[[interface]] "eth0": on-failure`.
    pub(super) subject: String,
    pub(super) expected: &'static str,
    pub(super) value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Field<'d> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Members of the list, where it is one.
    pub(super) fn count(&self) -> Option<usize> {
        Some(self.value.get_ref().as_array()?.iter().count())
    }
}

impl<'d> Table<'d> {
    /// Names the table in errors by one of its values, as the reader of the file would.
    pub(super) fn titled(self, by: &str) -> Self {
        Self { title: format!("{} \"{by}\"", self.section.header()), ..self }
    }

    /// Names the table in errors by what it is in.
    pub(super) fn called(self, title: String) -> Self {
        Self { title, ..self }
    }

    /// A key of this section as problems name it: `acl.rule.action`.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.section.name)
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// What stands under this section by the name of a section of its own: `pool` of `nat`.
    pub(super) fn under(&self, name: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        debug_assert!(reference::is_section(self.section.name, name), "{}.{name}", self.section.name);
        self.entries.get(name)
    }

    /// The value of a key of this section, where the file has it.
    pub(super) fn get(&self, name: &'static str) -> Option<Field<'d>> {
        let key = self.section.find(name);
        debug_assert!(key.is_some(), "{name} is not in the reference of {}", self.section.name);
        Some(Field {
            path: format!("{}.{name}", self.section.name),
            subject: format!("{}: {name}", self.title),
            expected: key?.expected,
            value: self.entries.get(name)?,
        })
    }
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        Self { source, problems: Vec::new() }
    }

    /// The table of a section, under the name errors call it by; keys the section does not have are reported.
    pub(super) fn table<'d>(
        &mut self,
        section: Section,
        title: String,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Option<Table<'d>> {
        let DeValue::Table(entries) = value.get_ref() else {
            let problem =
                self.source.problem(value.span(), format!("{title} cannot be a {}", type_name(value)));
            self.push(problem.key(section.name).value(self.text(value.span())).expected("a table"));
            return None;
        };
        for (name, _) in entries.iter() {
            if section.find(name.get_ref()).is_none() && !reference::is_section(section.name, name.get_ref())
            {
                self.unknown_key(&title, section.name, name, section.keys.iter().map(|key| key.name));
            }
        }
        Some(Table { section, title, span: value.span(), entries })
    }

    /// The value of a key that has to be there.
    pub(super) fn required<'d>(&mut self, table: &Table<'d>, name: &'static str) -> Option<Field<'d>> {
        let found = table.get(name);
        if found.is_none() {
            self.missing(table, name);
        }
        found
    }

    /// Every table of a repeated section.
    pub(super) fn tables<'d>(&mut self, section: Section, value: &'d Spanned<DeValue<'d>>) -> Vec<Table<'d>> {
        let DeValue::Array(items) = value.get_ref() else {
            let problem = self.source.problem(
                value.span(),
                format!("{} takes double brackets: there can be several", section.name),
            );
            self.push(problem.key(section.name).expected(section.header()));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.table(section, section.header(), item)).collect()
    }

    pub(super) fn unknown_key<'k>(
        &mut self,
        title: &str,
        path: &str,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        known: impl Iterator<Item = &'k str> + Clone,
    ) {
        let place =
            if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        let inside = if title.is_empty() { String::new() } else { format!(" in {title}") };
        let problem = self.source.problem(name.span(), format!("unknown key `{}`{inside}", name.get_ref()));
        let problem = problem.key(place).expected(list(known.clone()));
        self.push(match nearest(name.get_ref(), known) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        });
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The text of the file at a span.
    pub(super) fn text(&self, span: Range<usize>) -> String {
        self.source.text.get(span).unwrap_or_default().to_owned()
    }

    /// A problem with a field's value: `what` completes the sentence that begins with the key.
    pub(super) fn field_problem(&self, field: &Field<'_>, what: impl std::fmt::Display) -> Problem {
        let problem = self.source.problem(field.span(), format!("{} {what}", field.subject));
        problem.key(field.path.clone()).value(self.text(field.span())).expected(field.expected)
    }

    pub(super) fn reject(&mut self, field: &Field<'_>, what: impl std::fmt::Display) {
        let problem = self.field_problem(field, what);
        self.push(problem);
    }

    /// A key that the table must have.
    pub(super) fn missing(&mut self, table: &Table<'_>, name: &'static str) {
        let problem = self.source.problem(table.span.clone(), format!("{}: {name} is missing", table.title));
        let key = table.section.find(name);
        let problem = problem.key(format!("{}.{name}", table.section.name));
        self.push(match key {
            Some(key) => problem.expected(format!("`{name}`: {}", key.expected)),
            None => problem,
        });
    }

    pub(super) fn wrong_type(&mut self, field: &Field<'_>) {
        self.reject(field, format_args!("cannot be a {}", type_name(field.value)));
    }

    pub(super) fn string<'d>(&mut self, field: &Field<'d>) -> Option<&'d str> {
        let text = field.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(field);
        }
        text
    }

    pub(super) fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        let value = field.value.get_ref().as_bool();
        if value.is_none() {
            self.wrong_type(field);
        }
        value
    }

    /// A whole number within bounds.
    pub(super) fn integer<T: TryFrom<u64>>(
        &mut self,
        field: &Field<'_>,
        bounds: RangeInclusive<u64>,
    ) -> Option<T> {
        let Some(integer) = field.value.get_ref().as_integer() else {
            self.wrong_type(field);
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| bounds.contains(value)).and_then(|value| T::try_from(value).ok());
        if value.is_none() {
            self.reject(field, format_args!("cannot be {integer}"));
        }
        value
    }

    /// A value that `parse` makes of a string; its error completes the sentence "… is not right: ".
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        field: &Field<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(field)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.reject(field, format_args!("cannot be {text:?}: {error}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(field)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let problem = self.field_problem(field, format_args!("cannot be {text:?}"));
            self.push(match nearest(text, choices.iter().map(|(name, _)| *name)) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        found
    }

    /// The members of a list that are right; the others are reported, with what each was expected to be.
    pub(super) fn list<'d, T>(
        &mut self,
        field: &Field<'d>,
        expected: &'static str,
        mut each: impl FnMut(&mut Self, &Field<'d>) -> Option<T>,
    ) -> Option<Vec<(Field<'d>, T)>> {
        let Some(items) = field.value.get_ref().as_array() else {
            self.wrong_type(field);
            return None;
        };
        let items = items.iter().map(|value| Field { value, expected, ..field.clone() });
        Some(items.filter_map(|item| each(self, &item).map(|value| (item, value))).collect())
    }
}

fn type_name(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::Array(_) => "list",
        DeValue::Datetime(_) => "date",
        DeValue::Float(_) => "number with a fraction",
        DeValue::Integer(_) => "number",
        DeValue::String(_) => "string",
        DeValue::Boolean(_) => "truth value",
        DeValue::Table(_) => "table",
    }
}

/// `a`, `b` or `c`
pub(super) fn list<'k>(names: impl Iterator<Item = &'k str>) -> String {
    let names: Vec<_> = names.collect();
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        let joint = if i == 0 {
            ""
        } else if i + 1 == names.len() {
            " or "
        } else {
            ", "
        };
        let _ = write!(out, "{joint}`{name}`");
    }
    out
}

/// The known word that was perhaps meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', ' '], "-");
    let word = plain(word);
    // A word of one's own length away is no resemblance; what is over 40 bytes is no misspelt key.
    if 40 < word.len() {
        return None;
    }
    let near = known.map(|name| (distance(&word, &plain(name)), name));
    near.min_by_key(|(distance, _)| *distance)
        .filter(|(d, name)| *d <= (name.len().max(word.len()) / 3).max(1))
        .map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    // Row i, column j: from the first i characters of `a` to the first j of `b`.
    let mut rows: Vec<Vec<usize>> = (0..=a.len()).map(|i| (i..=i + b.len()).collect()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if 1 < i && 1 < j && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
