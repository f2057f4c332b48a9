//! Types for the generated signatures: each lifetime named or `'static`, each `impl Trait` a type parameter.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::visit_mut::{self, VisitMut};
use syn::{
    BoundLifetimes, CapturedParam, GenericArgument, GenericParam, Ident, Lifetime, ParenthesizedGenericArguments,
    PathArguments, PreciseCapture, PredicateType, Token, TraitBound, Type, TypeFnPtr, TypeImplTrait, TypeParam,
    TypeParamBound, TypePath, TypeReference, TypeTraitObject, parse_quote,
};

/// Whether the type is `!`.
pub(crate) fn is_never(ty: &Type) -> bool {
    matches!(ty, Type::Never(_))
}

/// Whether the type contains an `impl Trait`.
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

/// Whether the type contains a trait object without `Send`.
pub(crate) fn names_unsent_object(ty: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_trait_object(&mut self, object: &'ast TypeTraitObject) {
            let is_send = |bound: &TypeParamBound| match bound {
                TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == "Send"),
                _ => false,
            };
            self.0 |= !object.bounds.iter().any(is_send);
            syn::visit::visit_type_trait_object(self, object);
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(ty);
    finder.0
}

/// Whether the type contains an `impl Trait` without `use<..>`, which captures all lifetimes since edition 2024.
pub(crate) fn captures_all(ty: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
            self.0 |= !ty.bounds.iter().any(|bound| matches!(bound, TypeParamBound::PreciseCapture(_)));
            syn::visit::visit_type_impl_trait(self, ty);
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(ty);
    finder.0
}

/// Whether the type has a lifetime, named or elided, other than `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    let mut named = ty.clone();
    let mut lifetimes = NameLifetimes::default();
    lifetimes.visit_type_mut(&mut named);
    lifetimes.found.iter().any(|lifetime| lifetime.ident != "static")
}

/// Whether the type contains this lifetime.
pub(crate) fn mentions(ty: &Type, lifetime: &Lifetime) -> bool {
    struct Finder<'l>(&'l Lifetime, bool);
    impl<'ast> Visit<'ast> for Finder<'_> {
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.1 |= lifetime == self.0;
        }
    }
    let mut finder = Finder(lifetime, false);
    finder.visit_type(ty);
    finder.1
}

/// Whether one of the types may hide a lifetime, as `View` for `View<'_>`. Function types bind lifetimes that are
/// hidden in them, so if there is a function type the answer is no.
pub(crate) fn may_hide_lifetimes<'a>(types: impl Iterator<Item = &'a Type>) -> bool {
    const WITHOUT: [&str; 7] = ["Self", "String", "Vec", "Option", "Result", "Box", "Arc"];
    #[derive(Default)]
    struct Finder {
        path: bool,
        function: bool,
    }
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_path(&mut self, ty: &'ast TypePath) {
            if let Some(last) = ty.path.segments.last() {
                let name = last.ident.unraw().to_string();
                let written = matches!(&last.arguments, PathArguments::AngleBracketed(arguments)
                    if arguments.args.iter().any(|argument| matches!(argument, GenericArgument::Lifetime(_))));
                self.path |= !written && name.starts_with(char::is_uppercase) && !WITHOUT.contains(&&*name);
            }
            syn::visit::visit_type_path(self, ty);
        }
        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {
            self.function = true;
        }
        fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {
            self.function = true;
        }
    }
    let mut finder = Finder::default();
    types.for_each(|ty| finder.visit_type(ty));
    finder.path && !finder.function
}

pub(crate) fn is_mut_reference(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_some())
}

/// Names each elided lifetime.
#[derive(Default)]
pub(crate) struct NameLifetimes {
    /// The new names, in order.
    pub(crate) named: Vec<Lifetime>,
    /// All lifetimes of the types, each once.
    pub(crate) found: Vec<Lifetime>,
    /// In a result: the lifetime that replaces the elided ones.
    pub(crate) elided: Option<Lifetime>,
    /// Whether the type is a result. If `elided` is `None`, its elided lifetimes stay: rustc reports them at the
    /// function.
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

    // Function types bind the lifetimes that are elided in them.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// Replaces every lifetime, named or elided, by `'static`, except those that a `for<'a>` or a function type binds.
#[derive(Default)]
pub(crate) struct MakeStatic {
    bound: Vec<Lifetime>,
    in_function: bool,
}

impl MakeStatic {
    /// Visits the scope of a `for<..>`.
    fn in_binder(&mut self, binder: Option<&BoundLifetimes>, visit: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        self.bound.extend(binder.into_iter().flat_map(|binder| &binder.lifetimes).filter_map(|param| match param {
            GenericParam::Lifetime(param) => Some(param.lifetime.clone()),
            _ => None,
        }));
        visit(self);
        self.bound.truncate(before);
    }

    /// Visits a function type.
    fn inside(&mut self, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.in_function, true);
        visit(self);
        self.in_function = before;
    }
}

impl VisitMut for MakeStatic {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.is_none() && !self.in_function {
            reference.lifetime = Some(parse_quote!('static));
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if !(self.bound.contains(lifetime) || self.in_function && lifetime.ident == "_") {
            *lifetime = parse_quote!('static);
        }
    }

    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        // A `use<..>` names lifetimes and all types. The lifetimes are `'static` now, and all types are the default.
        ty.bounds = ty.bounds.iter().filter(|b| !matches!(b, TypeParamBound::PreciseCapture(_))).cloned().collect();
        visit_mut::visit_type_impl_trait_mut(self, ty);
        ty.bounds.push(static_bound());
    }

    fn visit_trait_bound_mut(&mut self, bound: &mut TraitBound) {
        self.in_binder(bound.lifetimes.as_ref(), |this| this.visit_path_mut(&mut bound.path));
    }

    fn visit_predicate_type_mut(&mut self, predicate: &mut PredicateType) {
        self.in_binder(predicate.lifetimes.as_ref(), |this| {
            this.visit_type_mut(&mut predicate.bounded_ty);
            predicate.bounds.iter_mut().for_each(|bound| this.visit_type_param_bound_mut(bound));
        });
    }

    fn visit_type_fn_ptr_mut(&mut self, function: &mut TypeFnPtr) {
        let binder = function.lifetimes.take();
        self.in_binder(binder.as_ref(), |this| this.inside(|this| visit_mut::visit_type_fn_ptr_mut(this, function)));
        function.lifetimes = binder;
    }

    fn visit_parenthesized_generic_arguments_mut(&mut self, arguments: &mut ParenthesizedGenericArguments) {
        self.inside(|this| visit_mut::visit_parenthesized_generic_arguments_mut(this, arguments));
    }
}

/// Adds type parameters to each `use<..>`, which must name all that are in scope.
pub(crate) struct CaptureAlso(pub(crate) Vec<Ident>);

impl VisitMut for CaptureAlso {
    fn visit_precise_capture_mut(&mut self, capture: &mut PreciseCapture) {
        capture.params.extend(self.0.iter().cloned().map(CapturedParam::Ident));
    }
}

/// Replaces each `impl Trait` by a type parameter.
#[derive(Default)]
pub(crate) struct NameImpls {
    pub(crate) params: Vec<GenericParam>,
}

impl NameImpls {
    /// The parameter's name, which error messages show: `ImplFn`, `ImplIterator2`.
    fn name(&self, bounds: &Punctuated<TypeParamBound, Token![+]>, place: Span) -> Ident {
        let named = bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last(),
            _ => None,
        });
        let mut name =
            format!("Impl{}", named.map_or_else(|| "Trait".to_owned(), |last| last.ident.unraw().to_string()));
        let taken =
            |name: &str| self.params.iter().any(|param| matches!(param, GenericParam::Type(t) if t.ident == name));
        if taken(&name) {
            name = format!("{name}{}", self.params.len() + 1);
        }
        Ident::new(&name, Span::mixed_site().located_at(place))
    }
}

impl VisitMut for NameImpls {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::ImplTrait(TypeImplTrait { bounds, impl_token, .. }) = ty {
            let ident = self.name(bounds, impl_token.span);
            self.params.push(GenericParam::Type(TypeParam {
                attrs: Vec::new(),
                ident: ident.clone(),
                colon_token: Some(syn::token::Colon::default()),
                bounds: bounds.clone(),
                default: None,
            }));
            *ty = parse_quote!(#ident);
        }
        // `&(impl A + B)` needs the parentheses, `&ImplA` does not.
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
