create database causeway owner causeway
