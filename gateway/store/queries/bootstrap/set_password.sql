-- Hands the password to the statements that follow as a setting: they cannot take parameters, and their text is logged.
select set_config('bootstrap.password', $1, false) as "set!"
