//! Which image of a store is meant, and which layers it has.

use serde_json::Value;

use super::reference::Transport;
use super::store::{Layer, LayerDigest, Store, sha256};
use super::{OciError, Reference, bad};

/// Most layers of an image.
const LAYERS_MAX: usize = 512;
/// How deep indexes may name indexes.
const INDEX_DEPTH_MAX: u32 = 3;
/// The annotation that holds a tag (image-spec, annotations.md).
const TAG: &str = "org.opencontainers.image.ref.name";

/// An image.
#[derive(Debug)]
pub(super) struct Image {
    /// `sha256:…` of the manifest, or of the configuration.
    pub(super) digest: String,
    /// The layers, the lowest first.
    pub(super) layers: Vec<Layer>,
}

/// Finds the image that a reference means.
pub(super) fn choose(image: &Reference, store: &Store<'_>, arch: &str) -> Result<Image, OciError> {
    let found = match image.transport {
        Transport::DockerArchive => of_docker(image, store),
        Transport::Layout | Transport::LayoutArchive => of_layout(image, store, arch),
    }?;
    if found.layers.is_empty() || found.layers.len() > LAYERS_MAX {
        return Err(bad(image, format!("{} layers; 1 to {LAYERS_MAX} can be used", found.layers.len())));
    }
    Ok(found)
}

fn of_layout(image: &Reference, store: &Store<'_>, arch: &str) -> Result<Image, OciError> {
    let index = json(image, &store.text("index.json")?, "index.json")?;
    let mut candidates: Vec<&Value> = list(&index, "manifests").collect();
    if let Some(tag) = &image.name {
        candidates.retain(|one| one.get("annotations").and_then(|all| text(all, TAG)) == Some(tag));
        if candidates.is_empty() {
            return Err(bad(image, format!("no image has the tag {tag}")));
        }
    }
    let mut matching = Vec::new();
    for one in candidates {
        manifests_for(image, store, one, arch, 0, &mut matching)?;
    }
    match matching.as_slice() {
        [digest] => of_manifest(image, store, digest),
        [] => Err(bad(image, format!("no image for {arch}"))),
        _ => Err(bad(image, "several images; name one by its tag")),
    }
}

/// Collects digests of manifests for an architecture; an index is followed.
fn manifests_for(
    image: &Reference,
    store: &Store<'_>,
    descriptor: &Value,
    arch: &str,
    depth: u32,
    found: &mut Vec<String>,
) -> Result<(), OciError> {
    let digest = text(descriptor, "digest").unwrap_or_default();
    let kind = text(descriptor, "mediaType").unwrap_or_default();
    let is_index = kind.ends_with("image.index.v1+json") || kind.ends_with("manifest.list.v2+json");
    if is_index {
        if depth == INDEX_DEPTH_MAX {
            return Err(bad(image, "indexes name each other too deep"));
        }
        let index = blob(image, store, digest)?;
        for one in list(&index, "manifests") {
            manifests_for(image, store, one, arch, depth.saturating_add(1), found)?;
        }
        return Ok(());
    }
    let platform = descriptor.get("platform");
    let wanted = platform.and_then(|of| text(of, "architecture")).is_none_or(|of| is_architecture(of, arch));
    if wanted && !found.iter().any(|known| known == digest) {
        found.push(digest.to_owned());
    }
    Ok(())
}

fn of_manifest(image: &Reference, store: &Store<'_>, digest: &str) -> Result<Image, OciError> {
    let manifest = blob(image, store, digest)?;
    let layer = |one: &Value| {
        let hex = hexadecimal(image, text(one, "digest").unwrap_or_default())?;
        Ok(Layer { file: format!("blobs/sha256/{hex}"), digest: LayerDigest::OfBlob(hex.to_owned()) })
    };
    let layers = list(&manifest, "layers").take(LAYERS_MAX.saturating_add(1)).map(layer);
    Ok(Image { digest: digest.to_owned(), layers: layers.collect::<Result<_, OciError>>()? })
}

/// `manifest.json` of `docker save`: a list of images with configuration, names and layer files.
fn of_docker(image: &Reference, store: &Store<'_>) -> Result<Image, OciError> {
    let all = json(image, &store.text("manifest.json")?, "manifest.json")?;
    let has_name = |one: &&Value| match &image.name {
        Some(name) => list(one, "RepoTags").any(|tag| tag.as_str() == Some(name)),
        None => true,
    };
    let matching: Vec<&Value> = all.as_array().into_iter().flatten().filter(has_name).collect();
    let [one] = matching.as_slice() else {
        let reason = if matching.is_empty() { "no such image" } else { "several images; name one" };
        return Err(bad(image, reason));
    };
    let config = store.text(text(one, "Config").ok_or_else(|| bad(image, "an image has no Config"))?)?;
    let digest = format!("sha256:{}", sha256(&config));
    let config = json(image, &config, "the configuration")?;
    let diffs = config.get("rootfs").into_iter().flat_map(|rootfs| list(rootfs, "diff_ids"));
    let mut layers = Vec::new();
    let mut diffs = diffs.filter_map(Value::as_str);
    for file in list(one, "Layers").take(LAYERS_MAX.saturating_add(1)) {
        let (Some(file), Some(diff)) = (file.as_str(), diffs.next()) else {
            return Err(bad(image, "layers without digests"));
        };
        let content = LayerDigest::OfContent(hexadecimal(image, diff)?.to_owned());
        layers.push(Layer { file: file.to_owned(), digest: content });
    }
    Ok(Image { digest, layers })
}

/// A blob of JSON, verified.
fn blob(image: &Reference, store: &Store<'_>, digest: &str) -> Result<Value, OciError> {
    let hex = hexadecimal(image, digest)?;
    let bytes = store.text(&format!("blobs/sha256/{hex}"))?;
    if sha256(&bytes) != hex {
        return Err(bad(image, format!("{digest} is damaged: its bytes have another digest")));
    }
    json(image, &bytes, digest)
}

/// The digits of a digest; they become a file name.
fn hexadecimal<'a>(image: &Reference, digest: &'a str) -> Result<&'a str, OciError> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.chars().all(is_digit))
        .ok_or_else(|| bad(image, format!("'{digest}' is not a SHA-256 digest")))
}

fn json(image: &Reference, bytes: &[u8], what: &str) -> Result<Value, OciError> {
    serde_json::from_slice(bytes).map_err(|error| bad(image, format!("{what} is not JSON: {error}")))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Whether a platform's architecture (Go's spelling) is an image's `osarch`.
fn is_architecture(platform: &str, arch: &str) -> bool {
    let in_go = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "ppc64el" => "ppc64le",
        "x86" | "i386" | "i686" => "386",
        "armv7l" | "armhf" => "arm",
        other => other,
    };
    platform == in_go
}
