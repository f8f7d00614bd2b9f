//! What several rules ask of Rust syntax.

use syn::spanned::Spanned;

/// First and last line of a piece of syntax, counted from 1.
pub(super) fn lines(of: &impl Spanned) -> (usize, usize) {
    let span = of.span();
    (span.start().line, span.end().line)
}

/// Whether these attributes make an item a part of the tests alone.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|condition| match condition {
                syn::Meta::Path(path) => path.is_ident("test"),
                syn::Meta::List(list) => list.path.is_ident("all") && list.tokens.to_string().split(", ").any(|part| part.trim() == "test"),
                syn::Meta::NameValue(_) => false,
            })
    })
}

/// A path without its generic arguments: `std::time::Instant::now`.
pub(super) fn text(path: &syn::Path) -> String {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}
