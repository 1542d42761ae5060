"""What headers tell: one patient or two, dates, and how the images were taken. No message names anybody."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from two_chests import visit

from medseg.errors import UnsuitableError, UsageError
from medseg.follow_up.headers import ONE_NAME, acquisition_of, differences, require_one_patient, study_date
from medseg.volume import Volume


def header(**values):
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return (found,)


def test_the_date_is_that_of_the_study():
    assert study_date(header(StudyDate="20250131", ContentDate="20250201"), "a").isoformat() == "2025-01-31"
    assert study_date(header(StudyDate="", SeriesDate="20250201"), "a").isoformat() == "2025-02-01"
    for headers in ((), header(StudyDate="")):
        with pytest.raises(UsageError, match="--dates"):
            study_date(headers, "a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": "71"}, {"PatientID": "72"}),
        ({"PatientName": "Muster^Eva"}, {"PatientName": "Muster^Ada"}),
        (
            {"PatientID": "7", "PatientBirthDate": "19500101"},
            {"PatientID": "7", "PatientBirthDate": "19500102"},
        ),
    ],
    ids=["number", "name", "birth"],
)
def test_two_patients_are_refused_and_not_named(one, other):
    with pytest.raises(UnsuitableError, match="of one patient") as error:
        require_one_patient([header(**one), header(**other)])
    assert not any(str(value) in str(error.value) for value in (*one.values(), *other.values()))


def test_one_patient_is_taken():
    same = [
        header(PatientID="7", PatientName="Muster^Eva"),
        header(PatientID=" 7", PatientName="MUSTER^EVA "),
    ]
    assert require_one_patient(same) == []
    married = [
        header(PatientID="7", PatientName="Muster^Eva"),
        header(PatientID="7", PatientName="Beispiel^Eva"),
    ]
    assert require_one_patient(married) == [ONE_NAME]


def test_files_that_do_not_tell_are_warned_of():
    assert "nothing shows" in require_one_patient([(), header(PatientID="7")])[0]


def test_two_sides_are_refused():
    with pytest.raises(UnsuitableError, match="one side of the body"):
        require_one_patient([header(ImageLaterality="L"), header(ImageLaterality="R")])


def taken(**values):
    image = Volume(np.zeros((1, 2, 2, 2)), np.diag([1, 1, 2.5, 1.0]), headers=header(Modality="CT", **values))
    found = visit("2025-01-31")
    return type(found)(**{**vars(found), "acquisition": acquisition_of(image)})


def test_another_way_of_taking_is_warned_of():
    one = taken(SliceThickness="1.25", ConvolutionKernel="B30f")
    assert differences([one, one]) == []
    other = taken(SliceThickness="5", ConvolutionKernel="B70f", ContrastBolusAgent="given")
    texts = " ".join(differences([one, other]))
    assert all(word in texts for word in ("slices differ (1.25, 5 mm)", "B30f, B70f", "contrast medium"))


def test_two_modalities_are_refused():
    one, other = taken(), taken()
    other.acquisition["modality"] = "MR"
    with pytest.raises(UnsuitableError, match="one modality"):
        differences([one, other])
