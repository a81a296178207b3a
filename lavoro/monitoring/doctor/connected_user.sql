-- The connected user: its name, and as SQL writes it.
select current_user::text, quote_ident(current_user)
