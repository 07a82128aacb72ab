create database demo owner demo
