"""Holidays of countries and on-call rotas from iCalendar files; packages are imported when they are used."""
