//! Types as the generated signatures need them: lifetimes named or `'static`, `impl Trait` as a parameter.

use proc_macro2::Span;
use quote::format_ident;
use syn::visit::Visit;
use syn::visit_mut::{self, VisitMut};
use syn::{
    GenericParam, Ident, Lifetime, ParenthesizedGenericArguments, Type, TypeFnPtr, TypeImplTrait, TypeParam,
    TypeParamBound, TypeReference, parse_quote,
};

/// Whether `impl Trait` stands anywhere in the type.
pub(crate) fn contains_impl(ty: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(ty);
    finder.0
}

/// Whether the type names a lifetime, or leaves one out, other than `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    let mut named = ty.clone();
    let mut lifetimes = NameLifetimes::default();
    lifetimes.visit_type_mut(&mut named);
    lifetimes.found.iter().any(|lifetime| lifetime.ident != "static")
}

pub(crate) fn is_mut_reference(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_some())
}

/// Gives a name to each lifetime that was left out, and collects the names.
#[derive(Default)]
pub(crate) struct NameLifetimes {
    /// The new names, in order.
    pub(crate) named: Vec<Lifetime>,
    /// All lifetimes that occur, each once.
    pub(crate) found: Vec<Lifetime>,
    /// In a result: the one lifetime of the arguments, which stands for all that are left out.
    pub(crate) elided: Option<Lifetime>,
    /// A result whose lifetimes cannot be told; rustc says so at the function itself.
    pub(crate) result: bool,
}

impl NameLifetimes {
    fn next(&mut self) -> Option<Lifetime> {
        if self.result {
            return self.elided.clone();
        }
        let name = Lifetime::new(&format!("'__{}", self.named.len()), Span::mixed_site());
        self.named.push(name.clone());
        self.found.push(name.clone());
        Some(name)
    }
}

impl VisitMut for NameLifetimes {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.is_none() {
            reference.lifetime = self.next();
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            if let Some(name) = self.next() {
                *lifetime = name;
            }
        } else if !self.found.contains(lifetime) {
            self.found.push(lifetime.clone());
        }
    }

    // Function types bind the lifetimes that are left out in them themselves.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// Turns every lifetime, left out or not, into `'static`.
pub(crate) struct MakeStatic;

impl VisitMut for MakeStatic {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime = Some(parse_quote!('static));
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        *lifetime = parse_quote!('static);
    }

    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        visit_mut::visit_type_impl_trait_mut(self, ty);
        ty.bounds.push(parse_quote!('static));
    }

    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// Turns each `impl Trait` into a type parameter.
#[derive(Default)]
pub(crate) struct NameImpls {
    pub(crate) params: Vec<GenericParam>,
}

impl VisitMut for NameImpls {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::ImplTrait(TypeImplTrait { bounds, .. }) = ty {
            let ident: Ident = format_ident!("__I{}", self.params.len(), span = Span::mixed_site());
            self.params.push(GenericParam::Type(TypeParam {
                attrs: Vec::new(),
                ident: ident.clone(),
                colon_token: Some(syn::token::Colon::default()),
                bounds: bounds.clone(),
                default: None,
            }));
            *ty = parse_quote!(#ident);
        }
        // `&(impl A + B)` needs its parentheses, `&I` does not.
        if let Type::Paren(inner) = ty
            && matches!(&*inner.elem, Type::Path(_))
        {
            *ty = (*inner.elem).clone();
        }
    }
}

/// A bound `'static`.
pub(crate) fn static_bound() -> TypeParamBound {
    TypeParamBound::Lifetime(parse_quote!('static))
}
