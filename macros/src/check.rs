//! What cannot run elsewhere, refused at its token.

use syn::{FnArg, ReturnType, Type};

use crate::errors::Errors;
use crate::function::Function;
use crate::options::Options;
use crate::types::{contains_impl, is_mut_reference};

/// The attribute that marks a chunked argument.
pub(crate) const CHUNK: &str = "chunk";

/// The most arguments a function may have.
const MAX_ARGUMENTS: usize = 16;

pub(crate) fn check(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    if let Some(token) = sig.constness {
        errors.at(token, "a `const fn` cannot run on a worker: the compiler may have to call it. Remove `const`");
    }
    if let Some(token) = sig.asyncness {
        errors.at(
            token,
            "an `async fn` only makes a future, and a worker thread would have nothing to run. Remove `async`",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "an `extern` function cannot be parallel: call it from a Rust function that is");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "arguments without types cannot be checked: give the function a fixed number of arguments");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && contains_impl(ty)
    {
        errors.at(ty, "a result without a name cannot be checked: name its type, or box it");
    }
    if sig.inputs.len() > MAX_ARGUMENTS {
        let message =
            format!("a parallel function takes at most {MAX_ARGUMENTS} arguments: group some of them in a struct");
        errors.at(&sig.inputs[MAX_ARGUMENTS], message);
    }
    for input in &sig.inputs {
        if let FnArg::Receiver(receiver) = input {
            let message = "methods cannot be parallel: make it a free function that takes the value as an argument";
            errors.at(receiver, message);
        }
    }
    chunks(function, options, errors);
}

/// Options and arguments that only make sense together.
fn chunks(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    let arguments: Vec<_> = sig.inputs.iter().filter_map(typed).collect();
    let marked = |argument: &syn::PatType| argument.attrs.iter().any(|attr| attr.path().is_ident(CHUNK));
    let Some(name) = &options.cut_name else {
        for attr in arguments.iter().flat_map(|argument| &argument.attrs) {
            if attr.path().is_ident(CHUNK) {
                errors.at(
                    attr,
                    "`#[chunk]` marks what is cut: say into how many pieces with `chunks = N` or `chunk_size = N`",
                );
            }
        }
        if let Some((name, _)) = &options.reduce {
            errors.at(name, "`reduce` folds the results of chunks: add `chunks = N` or `chunk_size = N`");
        }
        return;
    };
    if arguments.is_empty() {
        let message = format!(
            "there is nothing to cut: `{name}` needs a function with an argument, such as a `Vec`, slice, range or `DataFrame`"
        );
        errors.at(name, message);
    }
    let any_marked = arguments.iter().any(|argument| marked(argument));
    for (index, argument) in arguments.iter().enumerate() {
        let chunked = if any_marked { marked(argument) } else { index == 0 };
        if !chunked && is_mut_reference(&argument.ty) {
            let message = "chunks run at the same time and cannot share a `&mut`: mark it `#[chunk]` to cut it as well, or take it by value";
            errors.at(&argument.ty, message);
        }
        if chunked && contains_impl(&argument.ty) {
            errors.at(&argument.ty, "a chunked argument needs a type with a name, so that it can be cut");
        }
    }
}

fn typed(input: &FnArg) -> Option<&syn::PatType> {
    match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    }
}

/// Whether the type is `!`.
pub(crate) fn is_never(ty: &Type) -> bool {
    matches!(ty, Type::Never(_))
}
