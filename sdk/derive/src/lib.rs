//! `#[derive(Key)]` of cache-sync, which hands it on: use it from there.
#![forbid(unsafe_code)]

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Index, LitStr, Member, Path, Result, Type, parse_macro_input};

/// Makes a struct a key: its fields, each a key itself, are the columns of the primary key, in their order. One of a single field is a
/// newtype, a key like the one that it wraps.
///
/// What every key must be is derived beside it: `Clone`, `PartialEq`, `Eq`, `Hash` and `Debug`. Where the crate has another name,
/// `#[key(crate = "path")]` says which.
///
/// # Errors
/// It is an enum, a union, or has no fields; or another attribute of this name.
#[proc_macro_derive(Key, attributes(key))]
pub fn key(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(input).unwrap_or_else(Error::into_compile_error).into()
}

fn derive(mut input: DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) | Data::Union(_) => {
            return Err(Error::new_spanned(
                &input.ident,
                "only a struct is a key: of an enum, implement `Key` by hand",
            ));
        }
    };
    if fields.is_empty() {
        return Err(Error::new_spanned(&input.ident, "a key has a field for each column of the primary key"));
    }
    let types: Vec<Type> = fields.iter().map(|field| field.ty.clone()).collect();
    let members = members(fields);
    // A pair of the first and all others is a key of as many columns as there are, however many.
    let all = types.iter().rev().fold(None, |others: Option<TokenStream>, ty| match others {
        Some(others) => Some(quote!((#ty, #others))),
        None => Some(quote!((#ty,))),
    });
    let krate = crate_path(&input)?;
    // Of others it is known, and a bound would show types that may be private.
    let parameters: Vec<_> = input.generics.type_params().map(|parameter| parameter.ident.clone()).collect();
    let bounds = input.generics.make_where_clause();
    for ty in types.iter().filter(|ty| mentions(&quote!(#ty), &parameters)) {
        bounds.predicates.push(syn::parse_quote!(#ty: #krate::Key));
    }
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #krate::Key for #name #arguments #bounds {
            const COLUMNS: usize = <#all as #krate::Key>::COLUMNS;

            #[inline]
            fn parts<__V: #krate::KeyVisitor>(&self, visitor: &mut __V) {
                #(#krate::Key::parts(&self.#members, visitor);)*
            }

            fn column_types() -> ::std::vec::Vec<#krate::KeyColumnType> {
                <#all as #krate::Key>::column_types()
            }
        }
    })
}

/// What the crate is called there.
fn crate_path(input: &DeriveInput) -> Result<Path> {
    let mut path = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("key")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("there is only `crate = \"path\"`"));
            }
            path = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            Ok(())
        })?;
    }
    Ok(path.unwrap_or_else(|| syn::parse_quote!(::cache_sync)))
}

/// Whether one of the names stands somewhere in it.
fn mentions(tokens: &TokenStream, names: &[Ident]) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.contains(&ident),
        TokenTree::Group(group) => mentions(&group.stream(), names),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn members(fields: &Fields) -> Vec<Member> {
    let named = |(place, field): (usize, &syn::Field)| match &field.ident {
        Some(name) => Member::Named(name.clone()),
        None => Member::Unnamed(Index::from(place)),
    };
    fields.iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(item: &str) -> Result<String> {
        derive(syn::parse_str(item)?).map(|tokens| tokens.to_string())
    }

    #[test]
    fn each_field_is_a_column_or_several() {
        let newtype = derived("struct Id(i64);").unwrap();
        assert!(newtype.contains("< (i64 ,) as :: cache_sync :: Key > :: COLUMNS"), "{newtype}");
        assert!(newtype.contains("Key :: parts (& self . 0 , visitor)"), "{newtype}");
        let both = derived("struct Place<T> { day: T, r#in: String }").unwrap();
        assert!(both.contains("< (T , (String ,)) as"), "{both}");
        assert!(both.contains("T : :: cache_sync :: Key") && both.contains("& self . r#in"), "{both}");
    }

    #[test]
    fn only_what_is_generic_is_bound() {
        let known = derived("pub struct Id(Inner);").unwrap();
        assert!(!known.contains("where Inner"), "{known}");
        let list = derived("struct Id<T>(Box<T>, i32);").unwrap();
        assert!(list.contains("where Box < T > : :: cache_sync :: Key") && !list.contains("i32 : ::"), "{list}");
    }

    #[test]
    fn the_crate_may_have_another_name() {
        let other = derived("#[key(crate = \"ours::cache\")] struct Id(i64);").unwrap();
        assert!(other.contains("impl ours :: cache :: Key for Id") && !other.contains("cache_sync"), "{other}");
        assert!(
            derived("#[key(create = \"ours\")] struct Id(i64);").unwrap_err().to_string().contains("there is only")
        );
    }

    #[test]
    fn what_has_no_columns_is_no_key() {
        let refused = |item| derived(item).unwrap_err().to_string();
        assert!(refused("struct Nothing;").contains("a field for each column"));
        assert!(refused("struct Nothing {}").contains("a field for each column"));
        assert!(refused("enum Kind { A }").contains("only a struct"));
    }
}
