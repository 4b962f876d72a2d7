//! `#[derive(Key)]` of cache-sync, which hands it on: use it from there.
#![forbid(unsafe_code)]

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Index, Member, Result, Type, parse_macro_input};

/// Makes a struct a key: its fields, each a key itself, are the columns of the primary key, in their order. One of a single field is a
/// newtype, a key like the one that it wraps.
///
/// What every key must be is derived beside it: `Clone`, `PartialEq`, `Eq`, `Hash` and `Debug`.
///
/// # Errors
/// It is an enum, a union, or has no fields.
#[proc_macro_derive(Key)]
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
    let bounds = input.generics.make_where_clause();
    for ty in &types {
        bounds.predicates.push(syn::parse_quote!(#ty: ::cache_sync::Key));
    }
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::cache_sync::Key for #name #arguments #bounds {
            const COLUMNS: usize = <#all as ::cache_sync::Key>::COLUMNS;

            #[inline]
            fn parts<__V: ::cache_sync::KeyVisitor>(&self, visitor: &mut __V) {
                #(::cache_sync::Key::parts(&self.#members, visitor);)*
            }

            fn column_types() -> ::std::vec::Vec<::cache_sync::KeyColumnType> {
                <#all as ::cache_sync::Key>::column_types()
            }
        }
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
    fn what_has_no_columns_is_no_key() {
        let refused = |item| derived(item).unwrap_err().to_string();
        assert!(refused("struct Nothing;").contains("a field for each column"));
        assert!(refused("struct Nothing {}").contains("a field for each column"));
        assert!(refused("enum Kind { A }").contains("only a struct"));
    }
}
