"""Names as they stand on the plates of a region's schools, and numbers that belong to nobody."""

from __future__ import annotations

DISTRICTS = (
    ("taraz", "г. Тараз"),
    ("bayzak", "Байзакский район"),
    ("zhambyl", "Жамбылский район"),
    ("zhualy", "Жуалынский район"),
    ("korday", "Кордайский район"),
    ("merke", "Меркенский район"),
    ("moiynkum", "Мойынкумский район"),
    ("ryskulov", "район Т. Рыскулова"),
    ("talas", "Таласский район"),
    ("sarysu", "Сарысуский район"),
    ("shu", "Шуский район"),
)
"""Part of the site's id, and its name."""

SCHOOLS = (
    "Средняя школа № {number}",
    "№ {number} орта мектебі",
    "Школа-гимназия № {number}",
    "№ {number} мектеп-лицейі",
)
KINDERGARTENS = (
    "Детский сад «Балдырган»",
    "«Айгөлек» балабақшасы",
    "Ясли-сад «Күншуақ»",
    "«Қарлығаш» бөбекжай-балабақшасы",
    "Детский сад «Ботақан»",
    "«Балауса» балабақшасы",
)
COLLEGES = ("Аграрно-технический колледж № {number}", "№ {number} көпсалалы колледжі")
BOARDING_SCHOOLS = ("Школа-интернат № {number}", "№ {number} мектеп-интернаты")

GUARD_COMPANIES = ("ТОО «Сенім Күзет»", "ТОО «Барыс Секьюрити»", "")
"""The last: a site without guards, as there are."""

CAMERA_PLACES = ("Главный вход", "Холл, 1 этаж", "Двор", "Спортзал", "Запасный выход")

CAMERA_MODELS = (("Alatau Optik", "AO-IP236"), ("Bereke", "BK-4MP-D"), ("Simulated", "SIM-IPC-360"))
"""Makers that do not exist: nobody's quirks are meant."""
