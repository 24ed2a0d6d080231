//! The name that someone may have meant.

/// Most letters that may differ in a name that was meant.
const DISTANCE_MAX: usize = 2;

/// The name of a list that differs least, if it differs by little.
#[must_use]
pub fn nearest_of<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let near = names.into_iter().map(|known| (strsim::osa_distance(&lower, &known.to_lowercase()), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    // Half of a short name must not be wrong.
    (distance <= DISTANCE_MAX && distance * 2 < name.chars().count()).then_some(known)
}
