//! Files inside an asset's folder, as settings name them.

/// A file of an asset may be named by a path inside the asset's folder only; `path` is the setting's.
pub(crate) fn check_asset_path(member: Option<&str>, path: &str) -> Result<(), (String, String)> {
    let inside = |member: &str| !member.is_empty() && !member.starts_with('/') && !member.split('/').any(|p| p == "..");
    if member.is_some_and(|member| !inside(member)) {
        return Err((path.into(), "a path inside the asset's folder".into()));
    }
    Ok(())
}
