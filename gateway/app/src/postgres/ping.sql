-- Answers when the server is up and the password is the one the directory was made with.
select 'ok';
